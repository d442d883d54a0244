//! Images in a simulated cloud.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::{ComponentName, RelocationId};

use super::{ImageHeld, all_of, md5_of, stream};
use crate::bytes::{ByteStream, Source};
use crate::error::Error;
use crate::image_store::{ImageOrder, ImageStore};
use crate::memory::{MemoryProvider, Op, lock};

impl ImageHeld {
    fn is_of(&self, relocation: RelocationId, component: &ComponentName) -> bool {
        self.made_for.as_ref().is_some_and(|(made, of, _)| *made == relocation && of == component)
    }
}

#[async_trait]
impl ImageStore for MemoryProvider {
    async fn image(&self, id: &str) -> Result<StoredImage, Error> {
        self.call(Op::LookAtImage, id, |cloud| {
            let found = cloud.shelf.images.iter().find(|held| held.image.name == id || held.image.id == id);
            found.map(|held| held.image.clone()).ok_or_else(|| Error::NotThere {
                provider: self.id.to_string(),
                what: format!("image `{id}`"),
                code: Code::UnknownImage,
            })
        })
    }

    async fn read_image(&self, id: &str) -> Result<ByteStream, Error> {
        let cloud = lock(&self.cloud);
        let found = cloud.shelf.images.iter().find(|held| held.image.id == id);
        Ok(stream(found.map(|held| held.bytes.clone()).unwrap_or_default()))
    }

    async fn put_image(&self, order: &ImageOrder, source: &dyn Source) -> Result<StoredImage, Error> {
        let whole = |held: &&ImageHeld| held.is_of(order.relocation, &order.component);
        let there = self.call(Op::PutImage, &order.component, |cloud| {
            let held = cloud.shelf.images.iter().find(whole);
            match held.and_then(|held| held.made_for.as_ref().map(|(_, _, epoch)| (held, *epoch))) {
                Some((_, newer)) if newer > order.epoch => {
                    Err(Error::Fenced { provider: self.id.to_string(), newer: newer.0 })
                }
                Some((held, _)) => Ok(Some(held.image.clone())),
                None => Ok(None),
            }
        })?;
        if let Some(image) = there {
            return Ok(image);
        }
        let bytes = all_of(source).await?;
        self.call(Op::PutImage, &order.component, |cloud| {
            if let Some(held) = cloud.shelf.images.iter().find(whole) {
                return Ok(held.image.clone());
            }
            let image = StoredImage {
                id: format!("image-{}-{}", order.relocation, order.component),
                name: order.name.clone(),
                size_bytes: bytes.len() as u64,
                digests: BTreeMap::from([("md5".into(), md5_of(&bytes))]),
                ..order.like.clone()
            };
            let made_for = Some((order.relocation, order.component.clone(), order.epoch));
            cloud.shelf.images.push(ImageHeld { made_for, image: image.clone(), bytes: bytes.clone() });
            Ok(image)
        })
    }

    async fn delete_image(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.call(Op::DeleteImage, component, |cloud| {
            cloud.shelf.images.retain(|held| !held.is_of(relocation, component));
            Ok(())
        })
    }
}
