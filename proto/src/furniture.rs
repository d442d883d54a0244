//! What instances stand in at their target: what was made there after the source's, and what was there already and is used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::ComponentName;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Furnished(pub Vec<Furniture>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Furniture {
    pub kind: FurnitureKind,
    /// Its name at the source.
    pub source: String,
    /// Its name at the target: another one where something else has the name.
    pub target: String,
    /// What the target's provider knows it by.
    pub id: String,
    /// By this move. Otherwise it was there, and stays when the move is undone.
    pub made: bool,
    /// What is other than at the source, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The request decided it for this component, in place of what the source has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_for: Option<ComponentName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FurnitureKind {
    Network,
    Router,
    SecurityGroup,
    Keypair,
    ServerGroup,
    FloatingIp,
}

impl std::fmt::Display for FurnitureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Router => "router",
            Self::SecurityGroup => "security group",
            Self::Keypair => "key pair",
            Self::ServerGroup => "server group",
            Self::FloatingIp => "floating IP",
        })
    }
}

impl Furnished {
    /// What stands for a thing of the source.
    pub fn find(&self, kind: FurnitureKind, source: &str) -> Option<&Furniture> {
        self.0.iter().find(|it| it.kind == kind && it.source == source && it.decided_for.is_none())
    }

    /// What was decided for a component.
    pub fn decided(&self, kind: FurnitureKind, component: &ComponentName) -> Option<&Furniture> {
        self.0.iter().find(|it| it.kind == kind && it.decided_for.as_ref() == Some(component))
    }
}
