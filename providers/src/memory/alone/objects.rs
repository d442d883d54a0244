//! Containers and objects in a simulated cloud. A write to a container that no relocation made is an illegal act.

use async_trait::async_trait;
use fluidcloud_proto::alone::StoredContainer;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::RelocationId;

use super::{ContainerHeld, ObjectHeld, all_of, md5_of, of_segments, stream};
use crate::bytes::{ByteStream, Source};
use crate::error::Error;
use crate::memory::cloud::Cloud;
use crate::memory::{MemoryProvider, Op, lock};
use crate::object_store::{ContainerOrder, Listed, Object, ObjectStore, Page, Segment};

/// Small, so that listings have pages.
const PAGE: usize = 3;

#[async_trait]
impl ObjectStore for MemoryProvider {
    async fn container(&self, name: &str) -> Result<StoredContainer, Error> {
        self.call(Op::LookAtContainer, name, |cloud| {
            let held = self.kept(cloud, name)?;
            Ok(StoredContainer {
                name: name.to_owned(),
                objects: held.objects.len() as u64,
                bytes: held.objects.values().map(|held| held.object.bytes).sum(),
                metadata: held.metadata.clone(),
                concerns: Vec::new(),
            })
        })
    }

    async fn list(&self, container: &str, page: &Page) -> Result<Vec<Listed>, Error> {
        let mut cloud = lock(&self.cloud);
        let held = self.kept(&mut cloud, container)?;
        let begins = |name: &str| page.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix));
        let after = |name: &str| page.after.as_ref().is_none_or(|after| name > after.as_str());
        let all = held.objects.iter().filter(|(name, _)| begins(name) && after(name));
        let listed = all.map(|(name, held)| Listed {
            name: name.clone(),
            bytes: held.object.bytes,
            digest: held.object.digest.clone(),
        });
        Ok(listed.take(PAGE).collect())
    }

    async fn object(&self, container: &str, name: &str) -> Result<Option<Object>, Error> {
        let mut cloud = lock(&self.cloud);
        Ok(self.kept(&mut cloud, container)?.objects.get(name).map(|held| held.object.clone()))
    }

    async fn read_object(&self, container: &str, object: &Object) -> Result<ByteStream, Error> {
        let mut cloud = lock(&self.cloud);
        let held = self.kept(&mut cloud, container)?.objects.get(&object.name);
        Ok(stream(held.map(|held| held.bytes.clone()).unwrap_or_default()))
    }

    async fn write_object(&self, container: &str, object: &Object, source: &dyn Source) -> Result<(), Error> {
        let bytes = all_of(source).await?;
        if md5_of(&bytes) != object.digest {
            return Err(self.refused(format!("write object `{}`, which has another digest", object.name)));
        }
        let held = ObjectHeld { object: object.clone(), bytes, segments: Vec::new() };
        self.put(container, held)
    }

    async fn segments(&self, container: &str, name: &str) -> Result<Vec<Segment>, Error> {
        let mut cloud = lock(&self.cloud);
        let held = self.kept(&mut cloud, container)?.objects.get(name);
        Ok(held.map(|held| held.segments.clone()).unwrap_or_default())
    }

    async fn write_manifest(
        &self,
        container: &str,
        object: &Object,
        segments: &[Segment],
    ) -> Result<String, Error> {
        {
            let mut cloud = lock(&self.cloud);
            for segment in segments {
                let Segment::Object { container, name, digest, .. } = segment else { continue };
                let there = self.kept(&mut cloud, container)?.objects.get(name);
                if there.map(|held| &held.object.digest) != digest.as_ref() {
                    return Err(self.refused(format!("write a manifest: segment `{name}` is not there")));
                }
            }
        }
        let digest = of_segments(segments);
        let object = Object { digest: digest.clone(), ..object.clone() };
        let held = ObjectHeld { object, bytes: bytes::Bytes::new(), segments: segments.to_vec() };
        self.put(container, held)?;
        Ok(digest)
    }

    async fn delete_object(&self, container: &str, name: &str) -> Result<(), Error> {
        let mut cloud = lock(&self.cloud);
        if let Ok(held) = self.kept(&mut cloud, container) {
            self.must_be_made(container, held.made_for.is_some());
            held.objects.remove(name);
        }
        Ok(())
    }

    async fn is_name_free(&self, relocation: RelocationId, container: &str) -> Result<(), Error> {
        self.call(Op::Reserve, container, |cloud| match cloud.shelf.containers.get(container) {
            Some(held) if !held.is_of(relocation) => Err(self.taken(container)),
            _ => Ok(()),
        })
    }

    async fn make_container(&self, order: &ContainerOrder) -> Result<(), Error> {
        self.call(Op::MakeContainer, &order.name, |cloud| {
            if let Some(held) = cloud.shelf.containers.get_mut(&order.name) {
                return match &mut held.made_for {
                    Some((made, epoch)) if *made == order.relocation && *epoch > order.epoch => {
                        Err(Error::Fenced { provider: self.id.to_string(), newer: epoch.0 })
                    }
                    Some((made, epoch)) if *made == order.relocation => {
                        *epoch = order.epoch;
                        Ok(())
                    }
                    _ => Err(self.taken(&order.name)),
                };
            }
            let held = ContainerHeld {
                made_for: Some((order.relocation, order.epoch)),
                segments_of: order.segments_of.clone(),
                metadata: order.metadata.clone(),
                ..ContainerHeld::default()
            };
            cloud.shelf.containers.insert(order.name.clone(), held);
            Ok(())
        })
    }

    async fn remove_container(&self, relocation: RelocationId, name: &str) -> Result<(), Error> {
        self.call(Op::RemoveContainer, name, |cloud| {
            cloud.shelf.containers.retain(|other, held| {
                let meant = other == name || held.segments_of.as_deref() == Some(name);
                !(meant && held.is_of(relocation))
            });
            Ok(())
        })
    }
}

impl ContainerHeld {
    fn is_of(&self, relocation: RelocationId) -> bool {
        self.made_for.is_some_and(|(made, _)| made == relocation)
    }
}

impl MemoryProvider {
    fn kept<'a>(&self, cloud: &'a mut Cloud, name: &str) -> Result<&'a mut ContainerHeld, Error> {
        cloud.shelf.containers.get_mut(name).ok_or_else(|| Error::NotThere {
            provider: self.id.to_string(),
            what: format!("container `{name}`"),
            code: Code::UnknownContainer,
        })
    }

    fn put(&self, container: &str, held: ObjectHeld) -> Result<(), Error> {
        let name = held.object.name.clone();
        self.call(Op::WriteObject, &name, |cloud| {
            let into = self.kept(cloud, container)?;
            self.must_be_made(container, into.made_for.is_some());
            into.objects.insert(name.clone(), held);
            Ok(())
        })
    }

    fn must_be_made(&self, container: &str, made: bool) {
        if !made {
            self.witness.record(format!("{}: changed `{container}`, which no relocation made", self.id));
        }
    }

    fn refused(&self, what: String) -> Error {
        let (provider, cause) = (self.id.to_string(), "it does not fit".into());
        Error::Driver { provider, what, cause }
    }
}
