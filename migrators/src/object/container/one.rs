//! One object: its bytes and what belongs to them, or its manifest after what it leads to.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use fluidcloud_providers::{ByteStream, Object, ObjectKind, ObjectStore, Segment, Source};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::pairs::Lines;
use super::{Counts, Error, Job};
use crate::object::measure::{Measured, Wanted};

/// Manifests that lead to manifests: as many as stores follow.
const DEPTH_MAX: u32 = 10;
/// Times an object may be another one at the end than it was at the beginning.
const CHANGES_MAX: u32 = 3;
/// One that expires so soon is not copied any more: the target would refuse it.
const EXPIRES_SECS: u64 = 30;

/// Where a thing is, and where it goes.
type Way<'a> = (&'a str, &'a str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Copied,
    /// It was there.
    Same,
    /// The source has it no more.
    Gone,
}

struct Bytes<'a> {
    store: &'a dyn ObjectStore,
    container: &'a str,
    object: &'a Object,
}

#[async_trait]
impl Source for Bytes<'_> {
    async fn open(&self) -> Result<ByteStream, fluidcloud_providers::Error> {
        self.store.read_object(self.container, self.object).await
    }
}

impl Job<'_> {
    /// `look_first`: it is likely to be there.
    pub(super) fn copy_object<'a>(
        &'a self,
        way: Way<'a>,
        name: &'a str,
        look_first: bool,
        depth: u32,
    ) -> BoxFuture<'a, Result<Done, crate::Error>> {
        async move {
            let (from, to) = way;
            if depth > DEPTH_MAX {
                let (container, object) = (from.to_owned(), name.to_owned());
                return Err(Error::TooDeep { container, object, depth: DEPTH_MAX }.into());
            }
            for _ in 0..CHANGES_MAX {
                let Some(object) = self.source.object(from, name).await? else { return Ok(Done::Gone) };
                if expires(&object) {
                    return Ok(Done::Gone);
                }
                let arrives = self.led_to(way, &object, depth).await?;
                if look_first && self.target.object(to, name).await?.is_some_and(|there| is(&there, &arrives))
                {
                    self.tally.reused(object.bytes);
                    return Ok(Done::Same);
                }
                if self.write(way, &object, &arrives, depth).await? {
                    Counts::add(&self.counts.copied, 1);
                    return Ok(Done::Copied);
                }
            }
            Err(Error::Rewritten { container: from.to_owned(), object: name.to_owned() }.into())
        }
        .boxed()
    }

    /// As it is to arrive. What a dynamic manifest stands for arrives first.
    async fn led_to(&self, (from, _): Way<'_>, object: &Object, depth: u32) -> Result<Object, crate::Error> {
        let ObjectKind::Dynamic { container, prefix } = &object.kind else { return Ok(object.clone()) };
        let to = self.segment_container(container).await?;
        // Those in the container itself come with it.
        if *container != self.names.from {
            let mut lines = Lines::new(self.source, container, Some(prefix.clone()));
            while let Some(line) = lines.next().await? {
                if container != from || line.name != object.name {
                    self.copy_object((container, &to), &line.name, true, depth + 1).await?;
                }
            }
        }
        let kind = ObjectKind::Dynamic { container: to, prefix: prefix.clone() };
        Ok(Object { kind, ..object.clone() })
    }

    /// False: the source was changed meanwhile.
    async fn write(
        &self,
        (from, to): Way<'_>,
        object: &Object,
        arrives: &Object,
        depth: u32,
    ) -> Result<bool, crate::Error> {
        if object.kind == ObjectKind::Static {
            return self.write_manifest((from, to), object, depth).await;
        }
        let bytes = Bytes { store: self.source, container: from, object };
        let bytes = Measured::new(&bytes, &self.tally, Wanted::Md5);
        let written = self.target.write_object(to, arrives, &bytes).await;
        let passed = bytes.digests().filter(|passed| passed.bytes == object.bytes);
        let differs = passed.as_ref().is_some_and(|passed| passed.md5 != object.digest);
        if written.is_err() || differs {
            self.tally.lost(bytes.digests().map_or(0, |passed| passed.bytes));
            let now = self.source.object(from, &object.name).await?;
            if now.is_none_or(|now| now.digest != object.digest) {
                return Ok(false);
            }
        }
        match (written, passed) {
            (_, Some(passed)) if differs => {
                let what = format!("object `{}` of container `{from}`", object.name);
                let (expected, found) = (object.digest.clone(), passed.md5);
                return Err(Error::Corrupted { what, algorithm: "md5".into(), expected, found }.into());
            }
            (written, passed) => {
                written?;
                Counts::add(&self.counts.digested, u64::from(passed.is_some()));
            }
        }
        if object.kind != ObjectKind::Plain {
            Counts::add(&self.counts.manifests, 1);
        }
        Counts::add(&self.counts.bytes_copied, object.bytes);
        Ok(true)
    }

    /// After its segments, which the store checks by their digests.
    async fn write_manifest(
        &self,
        (from, to): Way<'_>,
        object: &Object,
        depth: u32,
    ) -> Result<bool, crate::Error> {
        let mut segments = self.source.segments(from, &object.name).await?;
        for segment in &mut segments {
            let Segment::Object { container, name, .. } = segment else { continue };
            let into = self.segment_container(container).await?;
            if self.copy_object((container, &into), name, true, depth + 1).await? == Done::Gone {
                return Ok(false);
            }
            *container = into;
        }
        let digest = self.target.write_manifest(to, object, &segments).await?;
        if digest == object.digest {
            Counts::add(&self.counts.manifests, 1);
            return Ok(true);
        }
        let now = self.source.object(from, &object.name).await?;
        if now.is_none_or(|now| now.digest != object.digest) {
            return Ok(false);
        }
        let what = format!("large object `{}` of container `{from}`", object.name);
        let expected = object.digest.clone();
        Err(Error::Corrupted { what, algorithm: "digest over segments".into(), expected, found: digest }
            .into())
    }
}

fn is(there: &Object, arrives: &Object) -> bool {
    (&there.digest, there.bytes, &there.kind) == (&arrives.digest, arrives.bytes, &arrives.kind)
}

fn expires(object: &Object) -> bool {
    let at = object.headers.get("x-delete-at").and_then(|at| at.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    at.is_some_and(|at| at <= now + EXPIRES_SECS)
}
