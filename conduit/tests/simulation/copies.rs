//! How a simulated worker copies images and containers: plainly, by the contract of the stores.

use async_trait::async_trait;
use fluidcloud_proto::alone::{ContainerCopied, CopyContainer, CopyImage, ImageCopied};
use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::task::{Output, TaskKey};
use fluidcloud_providers::memory::MemoryProvider;
use fluidcloud_providers::{
    ByteStream, ContainerOrder, Error, ImageOrder, ImageStore, Object, ObjectStore, Page, Source,
};

use crate::world::World;

enum From<'a> {
    Image(&'a MemoryProvider, &'a str),
    Object(&'a MemoryProvider, &'a str, &'a Object),
}

#[async_trait]
impl Source for From<'_> {
    async fn open(&self) -> Result<ByteStream, Error> {
        match self {
            Self::Image(cloud, id) => cloud.read_image(id).await,
            Self::Object(cloud, container, object) => cloud.read_object(container, object).await,
        }
    }
}

pub async fn image(world: &World, key: &TaskKey, order: &CopyImage) -> Result<Output, Failure> {
    let done = async {
        let like = world.a.image(&order.id).await?;
        let put = ImageOrder {
            relocation: key.relocation,
            component: order.component.clone(),
            epoch: key.epoch,
            name: order.name.clone(),
            visibility: order.visibility,
            like,
        };
        world.b.put_image(&put, &From::Image(&world.a, &order.id)).await
    };
    let stored = done.await.map_err(|error| error.to_failure())?;
    Ok(Output::ImageCopied(ImageCopied {
        component: order.component.clone(),
        name: stored.name,
        id: stored.id,
        bytes: stored.size_bytes,
        disk_format: stored.disk_format,
        digest: "d".into(),
        compared: Vec::new(),
        seconds: 1.0,
    }))
}

pub async fn container(world: &World, key: &TaskKey, order: &CopyContainer) -> Result<Output, Failure> {
    let done = async {
        let metadata = world.a.container(&order.from).await?.metadata;
        let make = ContainerOrder {
            relocation: key.relocation,
            epoch: key.epoch,
            name: order.to.clone(),
            metadata,
            segments_of: None,
        };
        world.b.make_container(&make).await?;
        let (mut page, mut objects, mut copied) = (Page::default(), 0, 0);
        loop {
            let listed = world.a.list(&order.from, &page).await?;
            let Some(last) = listed.last() else { return Ok((objects, copied)) };
            page.after = Some(last.name.clone());
            for line in &listed {
                objects += 1;
                let Some(object) = world.a.object(&order.from, &line.name).await? else { continue };
                if world.b.object(&order.to, &line.name).await?.as_ref() != Some(&object) {
                    let from = From::Object(&world.a, &order.from, &object);
                    world.b.write_object(&order.to, &object, &from).await?;
                    copied += 1;
                }
            }
        }
    };
    let (objects, copied) = done.await.map_err(|error: Error| error.to_failure())?;
    Ok(Output::ContainerCopied(ContainerCopied {
        component: order.component.clone(),
        name: order.to.clone(),
        segment_containers: Vec::new(),
        objects,
        bytes: 0,
        copied,
        bytes_copied: 0,
        reused: objects - copied,
        manifests: 0,
        digested: copied,
        gone: 0,
        digest: "d".into(),
        seconds: 1.0,
    }))
}
