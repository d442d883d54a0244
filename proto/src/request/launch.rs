//! What a user decides about an instance that moves between clouds, in place of "as it was": what is kept of it at both ends,
//! and with what it is launched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Visibility;

/// An image of the root disk as it was launched, that stays in the target's image service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepImage {
    pub name: String,
    #[serde(default, skip_serializing_if = "ImageFormat::is_default")]
    pub format: ImageFormat,
    #[serde(default, skip_serializing_if = "Visibility::is_default")]
    pub visibility: Visibility,
}

/// Those that volume services write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    Raw,
    #[default]
    Qcow2,
    Vmdk,
    Vdi,
    Vhd,
    Vhdx,
}

impl ImageFormat {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }
}

/// What is left out is as at the source, or as the target's configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypair: Option<KeypairChoice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_group: Option<GroupChoice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<FloatingIp>,
}

impl Launch {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Exactly one of `select`, `create` and `import` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeypairChoice {
    /// One that is there, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// A new one of this name. Its private half can be downloaded once: `fluidcloud key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportKey {
    pub name: String,
    /// One line, as in `authorized_keys`. Never the private half.
    pub public_key: String,
}

/// Exactly one of `new` and `into_default` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupChoice {
    /// A new group of this name, with the rules of the instance's groups at the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Those rules are added to the project's own group `default`, as far as they are not in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub into_default: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FloatingIp {
    /// One that the project has and nothing uses.
    Free,
    New,
    None,
}
