//! The mark of a relocation on a domain: one for what a relocation made, another for a source that it moved away
//! from. They are apart because an instance can carry both, when it moves on.

use fluidcloud_proto::ids::RelocationId;
use roxmltree::{Document, Node};

use super::xml::Element;

pub(super) const MADE: &str = "https://fluidcloud.dev/xmlns/1";
pub(super) const KEPT: &str = "https://fluidcloud.dev/xmlns/1/kept";
/// Prefix for a mark that is set on a defined domain.
pub(super) const KEPT_KEY: &str = "fluidcloud-kept";
const NAME: &str = "relocation";

/// `autostart`: what the domain did before it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub relocation: RelocationId,
    pub autostart: bool,
}

pub(super) fn made_element(relocation: RelocationId, note: &str) -> Element {
    Element::new("fluidcloud:relocation")
        .with("xmlns:fluidcloud", MADE)
        .with("id", relocation)
        .with("note", note)
}

/// Without prefix: libvirt adds its own.
pub(super) fn kept_xml(kept: Kept, note: &str) -> String {
    let autostart = if kept.autostart { "yes" } else { "no" };
    Element::new(NAME).with("id", kept.relocation).with("autostart", autostart).with("note", note).write()
}

pub(super) fn made_for(domain: &Document<'_>) -> Option<RelocationId> {
    element(domain, MADE)?.attribute("id")?.parse().ok()
}

pub(super) fn kept_for(domain: &Document<'_>) -> Option<Kept> {
    let element = element(domain, KEPT)?;
    let relocation = element.attribute("id")?.parse().ok()?;
    Some(Kept { relocation, autostart: element.attribute("autostart") == Some("yes") })
}

fn element<'a>(domain: &'a Document<'_>, space: &str) -> Option<Node<'a, 'a>> {
    let metadata = domain.root_element().children().find(|node| node.has_tag_name("metadata"))?;
    // The lifetimes of a node's document and text are one here.
    metadata.children().find(|node| node.has_tag_name((space, NAME)))
}
