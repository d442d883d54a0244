//! Clouds of ten years answer, and some say `null` where others say nothing: both are the default.

use serde::{Deserialize, Deserializer};

pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Whether anything was told; what, is forgotten.
pub(super) fn is_there<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::<serde::de::IgnoredAny>::deserialize(from)?.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::networks::Port;
    use super::super::servers::Server;

    #[test]
    fn null_is_as_nothing() {
        let port: Port =
            serde_json::from_value(json!({"id": "p", "description": null, "fixed_ips": null})).unwrap();
        assert_eq!((port.description.as_str(), port.fixed_ips.len()), ("", 0));
        let server = json!({"id": "s", "name": "a", "status": "ACTIVE", "image": null, "metadata": null,
            "flavor": {"vcpus": 1, "ram": 2, "disk": null}, "addresses": null, "fault": null});
        let server: Server = serde_json::from_value(server).unwrap();
        assert_eq!((server.flavor.ram, server.image_id()), (2, None));
    }
}
