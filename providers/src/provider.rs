//! The contract every driver keeps, and the orders it takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::furniture::Furnished;
use fluidcloud_proto::ids::{DiskId, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::overview::{Details, VolumeShown};
use fluidcloud_proto::request::FloatingIp;
use fluidcloud_proto::status::Capacity;
use fluidcloud_proto::surroundings::{Settings, Surroundings};
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{DiskPlace, Firmware, Instance, Nic, Power};
use fluidcloud_proto::usage::Usage;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::disk_images::{Inlet, Outlet};
use crate::error::Error;
use crate::furnishing::{Furnishing, Size};
use crate::image_store::ImageStore;
use crate::keepsakes::Keepsakes;
use crate::object_store::ObjectStore;
use crate::site::Site;
use crate::volumes::Volumes;

/// One cloud or hypervisor, as source or as target.
///
/// - **Idempotent.** Every call that changes something may be made again, after a crash or by a second caller, and
///   then finds the work done. `create_*` that finds its own earlier result (by the relocation's tag) returns it;
///   that finds somebody else's thing under the name fails with [`Error::NameTaken`] and changes nothing.
/// - **Tagged.** Whatever a driver makes carries the relocation's id where the provider can show it, so that
///   [`Provider::made_for`] finds it after any crash. Undo removes what has the tag and nothing else.
/// - **Cancel-safe.** Dropping a future leaves the provider in a state from which the same call can be made again.
/// - **The source is sacred.** No call changes or deletes the disks of an instance that was not made by a relocation.
/// - Sizes are bytes. Errors name the thing, the cause and the remedy.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    fn id(&self) -> &ProviderId;

    /// Name of the driver, such as `libvirt`.
    fn driver(&self) -> &'static str;

    /// What its guests get as hardware.
    fn hardware(&self) -> &Hardware;

    /// The site that always stands; `None` where there is none, or where one is made by [`Provider::open`].
    fn site(&self) -> Option<Arc<dyn Site>> {
        None
    }

    /// Whether bytes can be worked on here at all; not so for providers without hosts, such as `memory`.
    fn has_site(&self) -> bool {
        self.site().is_some()
    }

    /// Where work inside guests is done.
    fn guest_work(&self) -> GuestWork {
        GuestWork::AtSite
    }

    /// Disks have whole multiples of it; what is beyond the ordered size reads as zeros.
    fn disk_unit_bytes(&self) -> u64 {
        1
    }

    /// Makes disks workable at the site that it answers, under the paths of their places: those made for this
    /// relocation to be written, all others to be read only. They stay so until `create_instance` uses them,
    /// `delete_disk` or `settle`. Disks of an instance are shown as they are at that moment, never as they were before.
    async fn open(
        &self,
        _relocation: RelocationId,
        _disks: &[DiskPlace],
        _moment: Moment,
    ) -> Result<Arc<dyn Site>, Error> {
        self.site().ok_or_else(|| Error::Unsupported {
            provider: self.id().to_string(),
            what: "let disks be worked on: it has no site".to_owned(),
            remedy: "choose a provider with real hosts".to_owned(),
        })
    }

    /// The site at which work for this relocation may be under way, without making one.
    async fn opened(&self, _relocation: RelocationId) -> Result<Option<Arc<dyn Site>>, Error> {
        Ok(self.site())
    }

    /// Where disks of a source are read by way of images instead of being opened; decided once for a relocation.
    async fn outlet(&self, _relocation: RelocationId) -> Result<Option<Arc<dyn Outlet>>, Error> {
        Ok(None)
    }

    /// Where disks of a target are written by way of images: nothing can be changed in them afterwards.
    fn inlet(&self) -> Option<Arc<dyn Inlet>> {
        None
    }

    /// What is free now. Fails when the provider cannot be reached.
    async fn capacity(&self) -> Result<Capacity, Error>;

    /// Names and power of all instances.
    async fn instances(&self) -> Result<Vec<(InstanceName, Power)>, Error>;

    /// The instance as it stands, with the concerns about moving it.
    async fn inspect(&self, instance: &InstanceName) -> Result<Instance, Error>;

    /// What these instances stand in, and nothing that none of them uses, but for containers of objects.
    async fn surroundings(&self, _instances: &[InstanceName]) -> Result<Surroundings, Error> {
        Ok(Surroundings::default())
    }

    /// For people: what no part of a move needs.
    async fn details(&self, instance: &InstanceName) -> Result<Details, Error> {
        let found = self.inspect(instance).await?;
        let volumes = found.disks.into_iter().map(|disk| VolumeShown {
            name: disk.name.to_string(),
            id: disk.place.path,
            device: disk.guest_device,
            size_bytes: disk.size_bytes,
            volume_type: disk.volume_type.unwrap_or_default(),
            status: String::new(),
        });
        let status = format!("{:?}", found.power).to_lowercase();
        let volumes = volumes.collect();
        Ok(Details { id: found.name.to_string(), status, created_at: None, note: String::new(), volumes })
    }

    async fn power(&self, instance: &InstanceName) -> Result<Power, Error>;

    /// Starts it if it does not run.
    async fn start(&self, instance: &InstanceName) -> Result<(), Error>;

    /// Asks the guest to shut down; after `grace` it is forced off. Returns when it is off, and how it went off, also
    /// when that was before this call.
    async fn stop(&self, instance: &InstanceName, grace: Duration) -> Result<Stopped, Error>;

    /// Differs once a disk of the instance was written to. `None`: the provider cannot tell.
    async fn disks_stamp(&self, instance: &InstanceName) -> Result<Option<String>, Error>;

    /// Marks a source that this relocation moves: it stays, it does not start by itself any more, and a person who
    /// looks at it reads the note. Again with another note, the note is replaced. `release_source` takes the mark
    /// back and lets it start by itself as it did before.
    async fn keep_source(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
        note: &str,
    ) -> Result<(), Error>;

    /// Whether it has this relocation's mark.
    async fn is_kept(&self, instance: &InstanceName, relocation: RelocationId) -> Result<bool, Error>;

    async fn release_source(&self, instance: &InstanceName, relocation: RelocationId) -> Result<(), Error>;

    /// Checks that the names are free and the room is there. Holds nothing that could be left behind.
    async fn reserve(&self, reservation: &Reservation) -> Result<(), Error>;

    /// Whether it can make what a source's instances stand in; `furnish` makes nothing where not.
    fn furnishes(&self) -> bool {
        false
    }

    /// Whether it takes the decisions of a [`Furnishing`], and an instance launched with them.
    fn decides(&self) -> bool {
        false
    }

    /// Makes what of a source's surroundings is not there already, and answers what stands for each thing of them. What is
    /// there under the same name, and is as the source's, is used and never changed.
    async fn furnish(&self, _order: &Furnishing) -> Result<Furnished, Error> {
        Ok(Furnished::default())
    }

    /// Removes what `furnish` made for this relocation, and nothing that was there. What others have begun to use meanwhile
    /// is left to them.
    async fn unfurnish(&self, _relocation: RelocationId) -> Result<(), Error> {
        Ok(())
    }

    /// An empty disk that reads as zeros, of the size, rounded up to [`Provider::disk_unit_bytes`].
    async fn create_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error>;

    /// Removes a disk made for this relocation, with what lies beside it (journals, locks, overlays); one that is
    /// not there is no error.
    async fn delete_disk(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error>;

    /// Whether [`Provider::hold_addresses`] can be asked for.
    fn holds_addresses(&self) -> bool {
        false
    }

    /// Settles, before an instance is made, which addresses its NICs will have, and keeps them for it: `create_instance`
    /// with the same order uses them. Answers these NICs. The order's disks are not looked at.
    async fn hold_addresses(&self, _order: &InstanceOrder) -> Result<Vec<Nic>, Error> {
        Err(Error::Unsupported {
            provider: self.id().to_string(),
            what: "tell addresses before an instance runs: its guests get them when they start".to_owned(),
            remedy: "write names instead of addresses, and let these lead to the new ones".to_owned(),
        })
    }

    /// Gives up what `hold_addresses` keeps; what an instance uses by now stays, and what is not there is no error.
    async fn release_addresses(
        &self,
        _relocation: RelocationId,
        _instance: &InstanceName,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Defines the instance on its disks, stopped, not starting by itself until `settle`.
    async fn create_instance(&self, order: &InstanceOrder) -> Result<(), Error>;

    /// Removes an instance made for this relocation (stopping it), not its disks; one that is not there is no error.
    async fn delete_instance(&self, relocation: RelocationId, instance: &InstanceName) -> Result<(), Error>;

    /// Whether that ends one that runs at once, where `stop` would wait for its guest: then an undo does not stop it before.
    fn deletes_running(&self) -> bool {
        false
    }

    /// After commit: lets what was made start by itself if it was ordered so, and removes what only the move needed
    /// beside the disks in use (journals, overlays, locks).
    async fn settle(&self, relocation: RelocationId) -> Result<(), Error>;

    /// Addresses the provider knows of a running instance; empty when none is known yet.
    async fn addresses(&self, instance: &InstanceName) -> Result<Vec<IpAddr>, Error>;

    /// What instances have used, by the provider's own accounting: of these, or of all that there were in the period
    /// when none is named. Changes nothing.
    async fn usage(&self, _instances: &[InstanceName], _period: Period) -> Result<Usage, Error> {
        Err(Error::Unsupported {
            provider: self.id().to_string(),
            what: "tell what its instances have used: it keeps no account".to_owned(),
            remedy: "ask one of driver `openstack`, or measure at its hosts".to_owned(),
        })
    }

    /// Everything that carries the tag of this relocation, whatever step made it; of containers see [`ObjectStore`].
    async fn made_for(&self, relocation: RelocationId) -> Result<Vec<Made>, Error>;

    /// Volumes as things of their own.
    fn volumes(&self) -> Result<Arc<dyn Volumes>, Error> {
        Err(lacks(self.id(), "move a volume without an instance"))
    }

    fn images(&self) -> Result<Arc<dyn ImageStore>, Error> {
        Err(lacks(self.id(), "copy an image: it has no image service"))
    }

    fn keepsakes(&self) -> Result<Arc<dyn Keepsakes>, Error> {
        Err(lacks(self.id(), "keep snapshots or images of instances"))
    }

    fn objects(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        Err(lacks(self.id(), "copy a container: it has no object store"))
    }
}

fn lacks(provider: &ProviderId, what: &str) -> Error {
    Error::Unsupported {
        provider: provider.to_string(),
        what: what.to_owned(),
        remedy: "choose a provider that can, such as an OpenStack cloud, or leave it out".to_owned(),
    }
}

/// Where the tools for work inside guests (libguestfs, qemu-img) are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestWork {
    /// Beside the disks.
    AtSite,
    /// On the worker's own host, which reaches the disks over ssh; the site has no tools.
    AtWorker,
}

/// Of which moment the disks of an instance are to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It may run: a look at what it has written so far.
    Running,
    /// It is off: all that it has written.
    Stopped,
}

/// How an instance went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// The guest shut down by itself: its disks hold all that it wrote.
    Clean,
    /// Forced off, or crashed: what it had not yet written to its disks is lost.
    Forced,
    /// It was off, and its provider does not know how that came, such as after its host lost power.
    Unknown,
}

/// A time for which usage is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// `None`: since the instances were made; since the oldest one that is there was made, when none is named.
    pub from: Option<OffsetDateTime>,
    /// `None`: until now.
    pub to: Option<OffsetDateTime>,
}

/// What must be free before anything is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub relocation: RelocationId,
    pub instances: Vec<InstanceName>,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// How many.
    pub disks: u32,
    pub sizes: Vec<Size>,
    /// Networks of NICs for which nothing will be furnished: the target has something for them, or it is refused.
    pub networks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOrder {
    pub relocation: RelocationId,
    pub disk: DiskId,
    pub size_bytes: u64,
    /// The room its content may take; checked against what is free.
    pub expected_bytes: u64,
    /// Raw whatever the provider's format is, and never attached.
    pub staging: bool,
    /// Of the source's disk.
    pub volume_type: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceOrder {
    pub relocation: RelocationId,
    pub name: InstanceName,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub firmware: Firmware,
    /// Root first.
    pub disks: Vec<(DiskId, DiskPlace)>,
    /// Addresses of the hardware are kept; model and network are the target's.
    pub nics: Vec<Nic>,
    /// What the source's provider was told of it.
    pub settings: Option<Box<Settings>>,
    /// What stands for what it stood in.
    pub furnished: Furnished,
    /// What was decided in place of that.
    pub launched: Launched,
    /// Whether it is to start with its host, once the relocation has settled.
    pub autostart: bool,
    /// Shown to who looks at the instance: where it came from.
    pub note: String,
}

/// With what an instance is launched, where a user decided it; ids are the provider's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launched {
    pub keypair: Option<String>,
    /// The only one it is in.
    pub security_group: Option<String>,
    pub address: Option<FloatingIp>,
}

/// A thing at a provider that carries a relocation's tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Made {
    Disk {
        path: String,
    },
    Instance {
        name: InstanceName,
    },
    /// An image that was copied here.
    Image {
        name: String,
    },
    /// Journals, overlays, locks.
    Scrap {
        path: String,
    },
    /// By `furnish`; `what` is its kind and name.
    Furniture {
        what: String,
    },
}
