//! Ids as newtypes, so that a step is never passed where a disk is meant. Names that users choose are checked
//! when they are read; ids that we make are UUIDs.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest name a user may give to a provider, component, disk or site.
pub const NAME_MAX: usize = 63;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{kind} `{given}` is not a valid name: use 1 to 63 of a-z A-Z 0-9 . _ - and start with a letter or digit"
)]
pub struct InvalidName {
    kind: &'static str,
    given: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend("pattern" = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(given: &str) -> Result<Self, InvalidName> {
                let starts_well = given.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
                let made_well = given.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
                if starts_well && made_well && given.len() <= NAME_MAX {
                    Ok(Self(given.to_owned()))
                } else {
                    let given = given.chars().take(NAME_MAX + 1).collect();
                    Err(InvalidName { kind: $kind, given })
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(given: String) -> Result<Self, InvalidName> { given.parse() }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String { name.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    };
}

name!(/// A cloud or hypervisor in the registry; also the name of its site.
    ProviderId, "provider");
name!(/// A component of a service instance, unique inside its service.
    ComponentName, "component");
name!(/// The name an instance has at its provider.
    InstanceName, "instance");
name!(/// A disk of one instance, by the name its provider gives it (`hda`, `vdb`).
    DiskName, "disk");
name!(/// A worker process, made new at each start of it.
    WorkerId, "worker");

/// One relocation. Chosen by whoever makes the request: the same id again is the same relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RelocationId(pub Uuid);

impl RelocationId {
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Default for RelocationId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RelocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RelocationId {
    type Err = uuid::Error;
    fn from_str(given: &str) -> Result<Self, uuid::Error> {
        given.parse().map(Self)
    }
}

/// One disk of one component: `app/hda`. A transfer is named by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct DiskId {
    pub component: ComponentName,
    pub disk: DiskName,
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.component, self.disk)
    }
}

/// How often a step has been handed out. What carries a lower epoch than the step's is refused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
