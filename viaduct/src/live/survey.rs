//! The survey of one disk: its areas, each looked at on its own, and the free space of those that were understood.

use super::areas::{Found, areas};
use super::foreign;
use super::free::Free;
use super::view::{Doubt, Evidence, View, doubt};
use super::{Area, btrfs, ext, xfs};
use crate::digest::Digest;
use crate::ends::Source;

#[derive(Debug)]
pub struct Survey {
    /// In the order of the disk.
    pub areas: Vec<Area>,
    /// Bytes of the disk.
    pub free: Free,
    /// Of all that was looked at.
    pub evidence: Digest,
}

/// Never fails: what cannot be looked at is read whole.
pub async fn survey(source: &dyn Source) -> Survey {
    let evidence = Evidence::default();
    let disk = View::new(source, &evidence);
    let (mut found, mut free) = (Vec::new(), Free::default());
    if source.in_use() {
        found.push(whole(&disk, "unknown", Doubt("somebody has it mounted or open for writing".into())));
        return Survey { areas: found, free, evidence: evidence.digest() };
    }
    match areas(&disk).await {
        Ok(Found::Partitions(ranges)) => {
            for range in ranges {
                let area = look(&disk.part(&range), &mut free).await;
                found.push(area);
            }
        }
        Ok(Found::NoTable) => found.push(look(&disk, &mut free).await),
        Err(why) => found.push(whole(&disk, "unknown", why)),
    }
    Survey { areas: found, free, evidence: evidence.digest() }
}

/// Areas are looked at in the order of the disk, so that what is free comes in order too.
async fn look(view: &View<'_>, free: &mut Free) -> Area {
    let content = match content(view).await {
        Ok(content) => content,
        Err(why) => return whole(view, "unknown", why),
    };
    let found = match content {
        Content::Ext => ext::free_space(view).await,
        Content::Xfs => xfs::free_space(view).await,
        Content::Btrfs => btrfs::free_space(view).await,
        Content::Foreign(name) => {
            return whole(view, name, Doubt("it is not a file system read here".into()));
        }
    };
    match found {
        Ok((name, space)) => {
            space.shifted(view.start()).for_each(|range| free.push(range));
            let (start, length) = (view.start(), view.length());
            Area { start, length, content: name.into(), bytes_free: space.bytes(), whole_because: None }
        }
        Err(why) => whole(view, content.name(), why),
    }
}

fn whole(view: &View<'_>, content: &str, Doubt(why): Doubt) -> Area {
    Area {
        start: view.start(),
        length: view.length(),
        content: content.into(),
        bytes_free: 0,
        whole_because: Some(why.into_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Ext,
    Xfs,
    Btrfs,
    Foreign(&'static str),
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Content::Ext => "ext",
            Content::Xfs => "xfs",
            Content::Btrfs => "btrfs",
            Content::Foreign(name) => name,
        }
    }
}

/// What the marks say that is there. Two marks are one too many: one of them is a remnant, and which is not ours to say.
async fn content(view: &View<'_>) -> Result<Content, Doubt> {
    let mut seen = foreign::seen(view).await?;
    for (there, content) in [
        (ext::marked(view).await?, Content::Ext),
        (xfs::marked(view).await?, Content::Xfs),
        (btrfs::marked(view).await?, Content::Btrfs),
    ] {
        if there {
            seen.push(content);
        }
    }
    match *seen.as_slice() {
        [content] => Ok(content),
        [] => doubt("it is nothing that is known here"),
        [first, second, ..] => {
            doubt(format!("it has the marks of both {} and {}", first.name(), second.name()))
        }
    }
}

/// Whether there is the mark of any file system that is read here.
pub async fn any_mark(view: &View<'_>) -> Result<bool, Doubt> {
    Ok(ext::marked(view).await? || xfs::marked(view).await? || btrfs::marked(view).await?)
}
