//! What moves without an instance: a detached volume, an image, a container of objects. Each is a component of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Component;

/// A volume that no instance has. It must stay so until the relocation has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeComponent {
    /// Its name at the source provider, or its id there.
    pub id: String,
    /// Its name at the target; the same when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
}

/// An image that instances are made of, copied from one image service to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageComponent {
    /// Its name at the source provider, or its id there.
    pub id: String,
    /// Its name at the target; the same when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// Who sees it at the target.
    #[serde(default, skip_serializing_if = "Visibility::is_default")]
    pub visibility: Visibility,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Only its project.
    #[default]
    Private,
    /// Its project, and those that it is shared with.
    Shared,
    /// Whoever knows its id.
    Community,
    /// Everybody; most clouds let only administrators make such images.
    Public,
}

impl Visibility {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Community => "community",
            Self::Public => "public",
        }
    }
}

/// A container of an object store, with its objects and the segments of its large ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerComponent {
    /// Its name at the source provider.
    pub id: String,
    /// Its name at the target; the same when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
}

impl ContainerComponent {
    pub fn name_at_target(&self) -> &str {
        self.target_name.as_deref().unwrap_or(&self.id)
    }
}

impl Component {
    /// What it is, by the names of the fields that are given: exactly one in a valid request.
    pub fn kinds(&self) -> Vec<&'static str> {
        let given = [
            ("instance", self.instance.is_some()),
            ("volume", self.volume.is_some()),
            ("image", self.image.is_some()),
            ("container", self.container.is_some()),
            ("stays", self.stays.is_some()),
        ];
        given.into_iter().filter_map(|(kind, given)| given.then_some(kind)).collect()
    }

    /// It moves, and no instance moves with it.
    pub fn is_alone(&self) -> bool {
        self.volume.is_some() || self.image.is_some() || self.container.is_some()
    }
}
