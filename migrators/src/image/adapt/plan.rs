//! What is to be changed in one guest. Made from what it is by now; carried out by the migrator at the target, and as
//! far as texts go by the rehearsal at the source.

use std::time::Duration;

use fluidcloud_proto::topology::Nic;

use super::drivers::{self, Drivers, Kernel, Rebuild};
use super::edits::Edits;
use super::{boot, files, mounts, nics, room};
use crate::guest::{self, Fish, Guest, Session};

/// Building every initramfs of a guest, under emulation.
const REBUILD: Duration = Duration::from_secs(3600);
/// Unpacking them to look inside.
const LOOK: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub(crate) struct Plan {
    system: String,
    drivers: Drivers,
    kernels: Vec<Kernel>,
    edits: Edits,
    rebuild: Option<Rebuild>,
}

impl Plan {
    /// Looks at the mounted guest; whatever cannot be made fit is an error.
    pub async fn make(
        session: &mut Session,
        guest: &Guest,
        nics: &[Nic],
        drivers: Drivers,
    ) -> Result<Self, crate::Error> {
        let system = guest.name.clone();
        let files = files::read(session).await?;
        let mut edits = Edits::default();
        mounts::adapt(guest, &mut edits)?;
        boot::adapt(guest, &files, &mut edits)?;
        let macs: Vec<_> = nics.iter().map(|nic| nic.mac.to_ascii_lowercase()).collect();
        nics::adapt(&macs, &files, &mut edits);

        let kernels = drivers::look(session, &drivers, LOOK).await?;
        let rebuild = drivers::plan(&system, &drivers, &kernels, &files)?;
        if let Some(rebuild) = &rebuild {
            rebuild.configure(&files, &mut edits);
        }
        edits.label_if_needed(&files);
        Ok(Self { system, drivers, kernels, edits, rebuild })
    }

    /// Changes the texts.
    pub async fn edit(&self, session: &mut Session) -> Result<(), guest::Error> {
        self.edits.apply(session).await
    }

    /// Builds the initramfs anew where that is needed, and proves that it holds what it must. Answers all changes.
    pub async fn rebuild(&self, session: &mut Session) -> Result<Vec<String>, crate::Error> {
        let mut changes = self.edits.told();
        if let Some(rebuild) = &self.rebuild {
            session.run_for(&[Fish::new(&["sh", rebuild.command()])], REBUILD).await?;
            let kernels = drivers::look(session, &self.drivers, LOOK).await?;
            changes.extend(drivers::prove(&self.system, &self.drivers, &kernels, rebuild.kernels())?);
        }
        Ok(changes)
    }

    /// Instead of building: there must be room for it. Answers all changes that there will be, and the bytes by
    /// which what is in /boot may grow.
    pub async fn announce(
        &self,
        session: &mut Session,
        guest: &Guest,
    ) -> Result<(Vec<String>, u64), crate::Error> {
        let mut changes = self.edits.told();
        let Some(rebuild) = &self.rebuild else { return Ok((changes, 0)) };
        let growth = room::check(session, guest, rebuild, &self.kernels).await?;
        changes.extend(drivers::announce(&self.drivers, &self.kernels, rebuild.kernels()));
        Ok((changes, growth))
    }
}
