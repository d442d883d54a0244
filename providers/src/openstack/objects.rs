//! Swift: containers and objects, by the account's API. What is made for a relocation says so in the metadata of its
//! container, in the request that makes it.

mod containers;
mod headers;
mod path;

use async_trait::async_trait;
use fluidcloud_proto::alone::StoredContainer;
use fluidcloud_proto::ids::RelocationId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::OpenstackProvider;
use super::api::{Answered, Call, Service, absent};
use super::lenient;
use crate::bytes::{ByteStream, Source};
use crate::error::Error;
use crate::object_store::{ContainerOrder, Listed, Object, ObjectKind, ObjectStore, Page, Segment};

/// Objects of a page.
const PAGE: &str = "1000";
/// Of a manifest, itself and not what it leads to.
const ITSELF: (&str, &str) = ("multipart-manifest", "get");

/// A line of a listing. Of a static manifest `hash` is its own, `slo_etag` that of what it stands for.
#[derive(Deserialize)]
struct Line {
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    bytes: u64,
    #[serde(default, deserialize_with = "lenient::or_default")]
    hash: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    slo_etag: Option<String>,
}

#[async_trait]
impl ObjectStore for OpenstackProvider {
    async fn container(&self, name: &str) -> Result<StoredContainer, Error> {
        self.look_at_container(name).await
    }

    async fn list(&self, container: &str, page: &Page) -> Result<Vec<Listed>, Error> {
        let what = format!("list container `{container}`");
        let mut call = Call::get(Service::ObjectStore, path::container(container)?, what)
            .query("format", "json")
            .query("limit", PAGE);
        for (name, value) in [("prefix", &page.prefix), ("marker", &page.after)] {
            if let Some(value) = value {
                call = call.query(name, value);
            }
        }
        let lines: Vec<Line> = self.read_json(call).await?;
        let listed = lines.into_iter().filter_map(|line| {
            let digest = unquoted(line.slo_etag.as_deref().unwrap_or(&line.hash)).to_owned();
            Some(Listed { name: line.name?, bytes: line.bytes, digest })
        });
        Ok(listed.collect())
    }

    async fn object(&self, container: &str, name: &str) -> Result<Option<Object>, Error> {
        let Some(itself) = self.look_at(container, name, true).await? else { return Ok(None) };
        let kind = headers::kind(&itself).map_err(|what| self.odd(container, name, &what))?;
        let found = match kind {
            // Its content's type and digest are told of what it stands for only.
            ObjectKind::Static => self.look_at(container, name, false).await?,
            _ => Some(itself),
        };
        let Some(found) = found else { return Ok(None) };
        let digest = found.get("etag").map(unquoted).unwrap_or_default().to_lowercase();
        let bytes = found.get("content-length").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        Ok(Some(Object { name: name.to_owned(), bytes, digest, kind, headers: headers::kept(&found) }))
    }

    async fn read_object(&self, container: &str, object: &Object) -> Result<ByteStream, Error> {
        let what = format!("read object `{}` of container `{container}`", object.name);
        let call = Call::get(Service::ObjectStore, path::object(container, &object.name)?, what);
        Ok(self.api.pour(call.query(ITSELF.0, ITSELF.1)))
    }

    async fn write_object(&self, container: &str, object: &Object, source: &dyn Source) -> Result<(), Error> {
        let call = self.put(container, object)?.header("etag", &object.digest);
        let answered = self.api.fill_again(&call, object.bytes, source).await?;
        let stored = answered.get("etag").map(unquoted).unwrap_or_default();
        if stored.eq_ignore_ascii_case(&object.digest) {
            return Ok(());
        }
        Err(self.odd(container, &object.name, &format!("it is stored with digest `{stored}`")))
    }

    async fn segments(&self, container: &str, name: &str) -> Result<Vec<Segment>, Error> {
        let what = format!("read the manifest `{name}` of container `{container}`");
        let call = Call::get(Service::ObjectStore, path::object(container, name)?, what);
        let listed: Vec<Value> =
            self.read_json(call.query(ITSELF.0, ITSELF.1).query("format", "raw")).await?;
        let parsed = listed.iter().map(headers::segment).collect::<Option<Vec<_>>>();
        parsed.ok_or_else(|| self.odd(container, name, "a line of its manifest is not understood"))
    }

    async fn write_manifest(
        &self,
        container: &str,
        object: &Object,
        segments: &[Segment],
    ) -> Result<String, Error> {
        let listed: Vec<Value> = segments.iter().map(headers::listed).collect();
        let call = self.put(container, object)?.query("multipart-manifest", "put").json(json!(listed));
        let answered = self.api.headers(&call).await?;
        Ok(answered.get("etag").map(unquoted).unwrap_or_default().to_lowercase())
    }

    async fn delete_object(&self, container: &str, name: &str) -> Result<(), Error> {
        let what = format!("delete object `{name}` of container `{container}`");
        self.api.remove(Call::delete(Service::ObjectStore, path::object(container, name)?, what)).await
    }

    async fn is_name_free(&self, relocation: RelocationId, container: &str) -> Result<(), Error> {
        self.is_free_or_of(relocation, container).await
    }

    async fn make_container(&self, order: &ContainerOrder) -> Result<(), Error> {
        self.make_tagged_container(order).await
    }

    async fn remove_container(&self, relocation: RelocationId, name: &str) -> Result<(), Error> {
        self.remove_tagged_container(relocation, name).await
    }
}

impl OpenstackProvider {
    async fn look_at(&self, container: &str, name: &str, itself: bool) -> Result<Option<Answered>, Error> {
        let what = format!("look at object `{name}` of container `{container}`");
        let mut call = Call::head(Service::ObjectStore, path::object(container, name)?, what);
        if itself {
            call = call.query(ITSELF.0, ITSELF.1);
        }
        absent(self.api.headers(&call).await)
    }

    fn put(&self, container: &str, object: &Object) -> Result<Call, Error> {
        let what = format!("write object `{}` of container `{container}`", object.name);
        let mut call = Call::put(Service::ObjectStore, path::object(container, &object.name)?, what);
        for (name, value) in &object.headers {
            call = call.header(name, value);
        }
        if let ObjectKind::Dynamic { container, prefix } = &object.kind {
            call = call.header(headers::MANIFEST, path::pair(container, prefix));
        }
        Ok(call)
    }

    async fn read_json<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<Vec<T>, Error> {
        let what = call.what().to_owned();
        match self.api.call(call).await? {
            Value::Null => Ok(Vec::new()),
            told => serde_json::from_value(told).map_err(|cause| Error::Driver {
                provider: self.id.to_string(),
                what,
                cause: cause.into(),
            }),
        }
    }

    fn odd(&self, container: &str, name: &str, why: &str) -> Error {
        Error::Driver {
            provider: self.id.to_string(),
            what: format!("copy object `{name}` of container `{container}`"),
            cause: why.to_owned().into(),
        }
    }
}

fn unquoted(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}
