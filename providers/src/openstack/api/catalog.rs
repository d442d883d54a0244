//! Which address serves what, by Keystone's catalog or by hand.

use serde::Deserialize;

use super::entry::Entry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Compute,
    Volume,
    Network,
    Image,
    ObjectStore,
}

impl Service {
    /// Names it has had in catalogs, the best first.
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Compute => &["compute"],
            Self::Volume => &["volumev3", "block-storage", "block-store", "volume"],
            Self::Network => &["network"],
            Self::Image => &["image"],
            Self::ObjectStore => &["object-store"],
        }
    }

    /// Catalogs leave out the version of these.
    fn version(self) -> Option<&'static str> {
        match self {
            Self::Network => Some("v2.0"),
            Self::Image => Some("v2"),
            Self::Compute | Self::Volume | Self::ObjectStore => None,
        }
    }

    /// All that clouds since Queens know. Fixed, so that an answer has the same shape everywhere.
    pub(super) fn microversion(self) -> Option<&'static str> {
        match self {
            Self::Compute => Some("compute 2.60"),
            Self::Volume => Some("volume 3.27"),
            Self::Network | Self::Image | Self::ObjectStore => None,
        }
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.types()[0])
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Catalog(Vec<Served>);

#[derive(Clone, Debug, Deserialize)]
struct Served {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Deserialize)]
struct Endpoint {
    interface: String,
    #[serde(default)]
    region: Option<String>,
    url: String,
}

impl Catalog {
    /// The base of the service's paths, without a slash at its end; an error says what to do.
    pub fn endpoint(&self, service: Service, entry: &Entry) -> Result<String, String> {
        let by_hand = service.types().iter().find_map(|kind| entry.overrides.get(&kind.replace('-', "_")));
        if let Some(url) = by_hand {
            return Ok(versioned(url, service));
        }
        let mut served: Vec<&Endpoint> = Vec::new();
        for kind in service.types() {
            let of_kind = self.0.iter().filter(|served| served.kind == *kind);
            served.extend(of_kind.flat_map(|served| &served.endpoints));
        }
        let fits = |endpoint: &&&Endpoint| {
            endpoint.interface == entry.interface
                && entry.region.as_ref().is_none_or(|region| endpoint.region.as_ref() == Some(region))
        };
        if let Some(endpoint) = served.iter().find(fits) {
            return Ok(versioned(&endpoint.url, service));
        }
        let mut regions: Vec<&str> =
            served.iter().filter_map(|endpoint| endpoint.region.as_deref()).collect();
        regions.sort_unstable();
        regions.dedup();
        let region = entry.region.as_deref().unwrap_or("any");
        Err(if regions.is_empty() {
            format!("cloud `{}` has no service `{service}`: use one that has", entry.name)
        } else {
            format!(
                "cloud `{}` has no {} endpoint of `{service}` in region {region}: use `region_name` {}",
                entry.name,
                entry.interface,
                regions.join(" or ")
            )
        })
    }
}

fn versioned(url: &str, service: Service) -> String {
    let url = url.trim_end_matches('/');
    match service.version() {
        Some(version) if !url.rsplit('/').next().is_some_and(is_version) => format!("{url}/{version}"),
        _ => url.to_owned(),
    }
}

pub(super) fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::openstack::api::entry::{Login, User};
    use crate::openstack::api::secret::Secret;

    fn entry(region: Option<&str>, interface: &str) -> Entry {
        let (user, secret) = (User::default(), Secret::new("s"));
        Entry {
            name: "lab".into(),
            auth_url: String::new(),
            login: Login::ApplicationCredential { id: None, name: None, user, secret },
            region: region.map(str::to_owned),
            interface: interface.into(),
            verify: true,
            cacert: None,
            overrides: BTreeMap::new(),
        }
    }

    fn catalog() -> Catalog {
        let endpoint = |interface: &str, region: &str, url: &str| serde_json::json!({"interface": interface, "region": region, "region_id": region, "url": url, "id": "1"});
        serde_json::from_value(serde_json::json!([
            {"type": "volume", "name": "cinder", "endpoints": [endpoint("public", "one", "http://old/v2/p")]},
            {"type": "block-storage", "endpoints": [endpoint("public", "one", "http://c/v3/p/")]},
            {"type": "image", "endpoints": [
                endpoint("public", "one", "http://g"), endpoint("internal", "two", "http://h/v2/")]},
        ]))
        .unwrap()
    }

    #[test]
    fn region_interface_and_the_newest_name_decide() {
        let catalog = catalog();
        let one = entry(Some("one"), "public");
        assert_eq!(catalog.endpoint(Service::Volume, &one).unwrap(), "http://c/v3/p");
        assert_eq!(catalog.endpoint(Service::Image, &one).unwrap(), "http://g/v2");
        let two = entry(Some("two"), "internal");
        assert_eq!(catalog.endpoint(Service::Image, &two).unwrap(), "http://h/v2");
        assert_eq!(catalog.endpoint(Service::Image, &entry(None, "public")).unwrap(), "http://g/v2");
    }

    #[test]
    fn what_is_missing_is_told_with_what_there_is() {
        let catalog = catalog();
        let three = catalog.endpoint(Service::Image, &entry(Some("three"), "public")).unwrap_err();
        assert!(three.ends_with("use `region_name` one or two"), "{three}");
        let none = catalog.endpoint(Service::ObjectStore, &entry(None, "public")).unwrap_err();
        assert!(none.contains("no service `object-store`"), "{none}");
    }

    #[test]
    fn an_endpoint_by_hand_counts_first() {
        let mut by_hand = entry(Some("one"), "public");
        by_hand.overrides.insert("image".into(), "http://mine/".into());
        assert_eq!(catalog().endpoint(Service::Image, &by_hand).unwrap(), "http://mine/v2");
    }
}
