//! Keys of a test: gone with the process, handed out once all the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fluidcloud_proto::ids::{ComponentName, RelocationId};
use fluidcloud_proto::kept::KeyReport;
use time::OffsetDateTime;

use super::openssh::{Pair, generate};
use super::{Error, Handed, Keys, PrivateKey, choose};

type All = BTreeMap<(RelocationId, ComponentName), Held>;

/// Clones are the same keys.
#[derive(Clone, Debug, Default)]
pub struct MemoryKeys(Arc<Mutex<All>>);

#[derive(Debug)]
struct Held {
    name: String,
    public: String,
    /// Until it was handed out.
    private: Option<PrivateKey>,
    taken_at: Option<OffsetDateTime>,
}

impl MemoryKeys {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys for MemoryKeys {
    fn public_key(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
        name: &str,
    ) -> Result<String, Error> {
        let mut all = self.all();
        let key = (relocation, component.clone());
        if let Some(held) = all.get(&key) {
            return Ok(held.public.clone());
        }
        let Pair { public, private } = generate(name)?;
        let held =
            Held { name: name.to_owned(), public: public.clone(), private: Some(private), taken_at: None };
        all.insert(key, held);
        Ok(public)
    }

    fn hand_out(&self, relocation: RelocationId, name: Option<&str>) -> Result<Handed, Error> {
        let standing = self.standing(relocation)?;
        let key = choose(relocation, &standing, name)?;
        let mut all = self.all();
        let held = all.get_mut(&(relocation, key.component.clone()));
        let held = held.ok_or_else(|| Error::Unknown { relocation, name: Some(key.name.clone()) })?;
        let name = held.name.clone();
        match held.private.take() {
            Some(private) => {
                held.taken_at = Some(OffsetDateTime::now_utc());
                Ok(Handed { name, private })
            }
            None => Err(Error::Taken { name, at: held.taken_at }),
        }
    }

    fn standing(&self, relocation: RelocationId) -> Result<Vec<KeyReport>, Error> {
        let all = self.all();
        let ours = all.iter().filter(|((id, _), _)| *id == relocation);
        let told = ours.map(|((_, component), held)| KeyReport {
            component: component.clone(),
            name: held.name.clone(),
            taken_at: held.taken_at,
        });
        Ok(told.collect())
    }

    fn remove(&self, relocation: RelocationId) -> Result<(), Error> {
        self.all().retain(|(id, _), _| *id != relocation);
        Ok(())
    }
}
