//! Containers and objects of a project, as its user works with them.

use fluidcloud_providers::openstack::api::{Call, Opened, Service};
use serde_json::{Value, json};

use super::Cloud;

impl Cloud {
    pub fn make_container(&self, name: &str, metadata: &[(&str, &str)]) {
        let mut call = Call::put(Service::ObjectStore, format!("/{name}"), "make a container");
        for (key, value) in metadata {
            call = call.header(format!("x-container-meta-{key}"), *value);
        }
        self.call(call);
        self.made(Service::ObjectStore, format!("/{name}"));
    }

    /// `path` is that of the address: encoded, and with its container.
    pub fn put_object(&self, path: &str, bytes: &[u8], headers: &[(&str, &str)]) {
        let mut call = Call::put(Service::ObjectStore, format!("/{path}"), "write an object");
        for (key, value) in headers {
            call = call.header(*key, *value);
        }
        let bytes = bytes.to_vec();
        let open = move || Ok(Box::pin(std::io::Cursor::new(bytes.clone())) as Opened);
        self.runtime.block_on(self.api.upload(&call, &open)).expect("an upload");
        self.made(Service::ObjectStore, format!("/{path}"));
    }

    /// A large object of segments that are there, `container/name` each.
    pub fn put_manifest(&self, path: &str, segments: &[&str]) {
        let lines: Vec<Value> =
            segments.iter().map(|segment| json!({"path": format!("/{segment}")})).collect();
        let call = Call::put(Service::ObjectStore, format!("/{path}"), "write a manifest");
        self.call(call.query("multipart-manifest", "put").json(json!(lines)));
        self.made(Service::ObjectStore, format!("/{path}"));
    }

    pub fn object(&self, path: &str) -> Vec<u8> {
        let call = Call::get(Service::ObjectStore, format!("/{path}"), "read an object");
        let mut bytes = Vec::new();
        self.runtime.block_on(self.api.download(&call, &mut bytes)).expect("a download");
        bytes
    }

    /// Names, sizes, digests and types; `None` where there is no such container.
    pub fn objects(&self, container: &str) -> Option<Vec<(String, Value)>> {
        let call = Call::get(Service::ObjectStore, format!("/{container}"), "list a container");
        let listed = self.try_call(call.query("format", "json"))?;
        let listed = listed.as_array().cloned().unwrap_or_default().into_iter();
        let told = listed.map(|object| {
            let digest = object.get("slo_etag").unwrap_or(&object["hash"]).clone();
            let what = json!([object["bytes"], digest, object["content_type"]]);
            (object["name"].as_str().expect("a name").to_owned(), what)
        });
        Some(told.collect())
    }

    /// With all that is in it.
    pub fn remove_container(&self, name: &str) {
        for (object, _) in self.objects(name).unwrap_or_default() {
            let encoded: String = object.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let path = format!("/{name}/{encoded}");
            let _ = self.try_call(Call::delete(Service::ObjectStore, path, "remove an object"));
        }
        let _ = self.try_call(Call::delete(Service::ObjectStore, format!("/{name}"), "remove a container"));
    }

    /// The one with this name, as its service tells of it.
    pub fn find(&self, service: Service, key: &str, name: &str) -> Option<Value> {
        let path = if service == Service::Volume { format!("/{key}/detail") } else { format!("/{key}") };
        let all = self.call(Call::get(service, path, format!("list {key}")));
        all[key].as_array()?.iter().find(|thing| thing["name"] == name).cloned()
    }
}
