//! What a configuration says of a cloud, beside its shape.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenstackConfig {
    /// The entry of clouds.yaml. Credentials are there and in secure.yaml, never here.
    pub cloud: String,
    /// Where that file is; looked for as openstack's own clients do when left out.
    #[serde(default)]
    pub clouds_file: Option<PathBuf>,
    #[serde(default)]
    pub region: Option<String>,
    /// Name or id of the network that takes all NICs. Left out: networks as at the source, made where there are none.
    #[serde(default)]
    pub network: Option<String>,
    /// What stands for a network of a source, by their names.
    #[serde(default)]
    pub networks: BTreeMap<String, String>,
    /// Where routers that are made lead, and where floating IPs come from. Left out: `floating_network`, or one of the same
    /// name as at the source, or the only one.
    #[serde(default)]
    pub external_network: Option<String>,
    /// Security groups of all instances, by name or id. Left out: groups as at the source, made where there are none.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// Gives each instance an address from here, for a network that is not reached from outside. Left out: those that had
    /// one at the source get one, where their networks are made as at the source.
    #[serde(default)]
    pub floating_network: Option<String>,
    /// The cloud's default when left out.
    #[serde(default)]
    pub volume_type: Option<String>,
    /// What stands for a volume type of a source; `volume_type` for all others.
    #[serde(default)]
    pub volume_types: BTreeMap<String, String>,
    /// What stands for a flavor of a source. It must be large enough.
    #[serde(default)]
    pub flavors: BTreeMap<String, String>,
    #[serde(default)]
    pub availability_zone: Option<String>,
    /// `none`: no server of ours may be made there, and disks go by way of images.
    #[serde(deserialize_with = "helper")]
    pub helper: Option<HelperConfig>,
    /// The directory on the worker's host below which disks appear that go by way of images, where `helper` is `none`.
    #[serde(default = "dir")]
    pub dir: PathBuf,
}

/// The small server in which bytes are worked on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelperConfig {
    /// Any Linux that runs a `#!` script given as user data, with sshd or dropbear.
    pub image: String,
    pub flavor: String,
    /// A network from which the other site is reached.
    pub network: String,
    /// Takes a floating IP from here, for a network that is not reached from outside.
    #[serde(default)]
    pub floating_network: Option<String>,
    #[serde(default = "root")]
    pub user: String,
    /// The private half, on this host; the public one is beside it with `.pub`.
    pub key: PathBuf,
    /// Whether libguestfs and qemu-utils are in it. Otherwise work inside guests is done on the worker's host, which
    /// then needs them, and nbdfuse.
    #[serde(default)]
    pub guest_tools: bool,
    /// A directory of ours in it.
    #[serde(default = "dir")]
    pub dir: PathBuf,
}

/// In place of a helper's configuration.
const NO_HELPER: &str = "none";

impl OpenstackConfig {
    /// Below which disks have their places: in the helper, and on the worker's host where there is none.
    pub fn site_dir(&self) -> &Path {
        self.helper.as_ref().map_or(&self.dir, |helper| &helper.dir)
    }
}

fn helper<'de, D: Deserializer<'de>>(from: D) -> Result<Option<HelperConfig>, D::Error> {
    struct Told;

    impl<'de> Visitor<'de> for Told {
        type Value = Option<HelperConfig>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "image, flavor, network and key of the helper, or `{NO_HELPER}`")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match text {
                NO_HELPER => Ok(None),
                other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
            }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            HelperConfig::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    from.deserialize_any(Told)
}

fn root() -> String {
    "root".into()
}

fn dir() -> PathBuf {
    PathBuf::from("/var/lib/fluidcloud-site")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(helper: &str) -> Result<OpenstackConfig, String> {
        serde_norway::from_str(&format!("cloud: mine\nhelper: {helper}\n")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_helper_is_described_or_there_is_none() {
        let config = read("{image: i, flavor: f, network: n, key: k, dir: /far}").unwrap();
        assert_eq!(
            (config.helper.as_ref().unwrap().user.as_str(), config.site_dir()),
            ("root", Path::new("/far"))
        );
        let config = read("none").unwrap();
        assert!(config.helper.is_none());
        assert_eq!(config.site_dir(), Path::new("/var/lib/fluidcloud-site"));
        for (wrong, told) in
            [("nobody", "or `none`"), ("{image: i}", "flavor"), ("{image: i, x: y}", "unknown field")]
        {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
        assert!(serde_norway::from_str::<OpenstackConfig>("cloud: mine").is_err(), "it is not forgotten");
    }
}
