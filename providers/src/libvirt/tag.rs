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

/// `autostart`: of what a relocation made, what the domain is to do once it has settled; of what is kept, what it did
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub relocation: RelocationId,
    pub autostart: bool,
}

pub(super) fn made_element(made: Mark, note: &str) -> Element {
    Element::new("fluidcloud:relocation")
        .with("xmlns:fluidcloud", MADE)
        .with("id", made.relocation)
        .with("autostart", yes_or_no(made.autostart))
        .with("note", note)
}

/// Without prefix: libvirt adds its own.
pub(super) fn kept_xml(kept: Mark, note: &str) -> String {
    let autostart = yes_or_no(kept.autostart);
    Element::new(NAME).with("id", kept.relocation).with("autostart", autostart).with("note", note).write()
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

pub(super) fn made_for(domain: &Document<'_>) -> Option<Mark> {
    read(element(domain, MADE)?)
}

pub(super) fn kept_for(domain: &Document<'_>) -> Option<Mark> {
    read(element(domain, KEPT)?)
}

fn read(element: Node<'_, '_>) -> Option<Mark> {
    let relocation = element.attribute("id")?.parse().ok()?;
    Some(Mark { relocation, autostart: element.attribute("autostart") == Some("yes") })
}

fn element<'a>(domain: &'a Document<'_>, space: &str) -> Option<Node<'a, 'a>> {
    let metadata = domain.root_element().children().find(|node| node.has_tag_name("metadata"))?;
    // The lifetimes of a node's document and text are one here.
    metadata.children().find(|node| node.has_tag_name((space, NAME)))
}
