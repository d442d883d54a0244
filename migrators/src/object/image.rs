//! One image, from one image service to another. It is not done until what the services say of it is what passed.

use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::alone::{CopyImage, ImageCopied, StoredImage};
use fluidcloud_proto::task::TaskKey;
use fluidcloud_providers::{ByteStream, ImageOrder, ImageStore, Source};

use super::Error;
use super::measure::{Digests, Measured, Wanted};
use super::tally::Tally;
use crate::migrator::Progress;

struct Bytes<'a> {
    store: &'a dyn ImageStore,
    id: String,
}

#[async_trait]
impl Source for Bytes<'_> {
    async fn open(&self) -> Result<ByteStream, fluidcloud_providers::Error> {
        self.store.read_image(&self.id).await
    }
}

pub async fn copy(
    source: &dyn ImageStore,
    target: &dyn ImageStore,
    key: &TaskKey,
    order: &CopyImage,
    progress: &Progress,
) -> Result<ImageCopied, crate::Error> {
    let found = source.image(&order.id).await?;
    let tally = Arc::new(Tally::new(progress, found.size_bytes));
    let from = Bytes { store: source, id: found.id.clone() };
    let from = Measured::new(&from, &tally, Wanted::All);
    let put = ImageOrder {
        relocation: key.relocation,
        component: order.component.clone(),
        epoch: key.epoch,
        name: order.name.clone(),
        visibility: order.visibility,
        like: found.clone(),
    };
    let stored = target.put_image(&put, &from).await?;
    let compared = match compare(&found, &stored, &from, target, &tally).await {
        // What is there is not the image: the next attempt begins anew.
        Err(error @ crate::Error::Object(Error::Corrupted { .. })) => {
            target.delete_image(key.relocation, &order.component).await?;
            return Err(error);
        }
        compared => compared?,
    };
    Ok(ImageCopied {
        component: order.component.clone(),
        name: stored.name,
        id: stored.id,
        bytes: compared.digests.bytes,
        disk_format: stored.disk_format,
        digest: format!("blake3:{}", compared.digests.blake3),
        compared: compared.with,
        seconds: tally.seconds(),
    })
}

struct Compared {
    digests: Digests,
    with: Vec<String>,
}

async fn compare(
    found: &StoredImage,
    stored: &StoredImage,
    from: &Measured<'_>,
    target: &dyn ImageStore,
    tally: &Arc<Tally>,
) -> Result<Compared, crate::Error> {
    let mut with = Vec::new();
    let back = Bytes { store: target, id: stored.id.clone() };
    let back = Measured::new(&back, tally, Wanted::All);
    // It was whole already: then nothing has passed, and what is there is read.
    let there = if from.was_opened() { None } else { back.read().await? };
    let mut ours = if there.is_some() { there } else { from.digests() };
    if found.digests.is_empty() && !from.was_opened() {
        // Nobody knows what it should be.
        let again = from.read().await?;
        same(
            "image",
            "blake3",
            again.as_ref().map(|seen| &seen.blake3),
            ours.as_ref().map(|seen| &seen.blake3),
        )?;
        ours = again;
    }
    let Some(digests) = ours else { return Err(cut(found).into()) };
    same(&found.name, "size", Some(&found.size_bytes.to_string()), Some(&digests.bytes.to_string()))?;
    for (at, image) in [("source", found), ("target", stored)] {
        for (algorithm, told) in &image.digests {
            let Some(ours) = digests.of(algorithm) else { continue };
            let what = format!("image `{}` (at the {at})", image.name);
            same(&what, algorithm, Some(told), Some(&ours.to_owned()))?;
            with.push(format!("{at} {algorithm}"));
        }
    }
    if !with.iter().any(|told| told.starts_with("target")) {
        if from.was_opened() {
            let read = back.read().await?;
            same(&stored.name, "blake3", Some(&digests.blake3), read.as_ref().map(|seen| &seen.blake3))?;
        }
        with.push("read back".to_owned());
    }
    Ok(Compared { digests, with })
}

fn same(what: &str, algorithm: &str, expected: Option<&String>, found: Option<&String>) -> Result<(), Error> {
    let shown = |told: Option<&String>| told.map_or("nothing", String::as_str).chars().take(16).collect();
    if expected == found {
        return Ok(());
    }
    Err(Error::Corrupted {
        what: what.to_owned(),
        algorithm: algorithm.to_owned(),
        expected: shown(expected),
        found: shown(found),
    })
}

fn cut(image: &StoredImage) -> Error {
    Error::Corrupted {
        what: format!("image `{}`", image.name),
        algorithm: "size".to_owned(),
        expected: image.size_bytes.to_string(),
        found: "less".to_owned(),
    }
}
