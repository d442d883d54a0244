//! What is offered, in which order, with which reasons.

use fluidcloud_proto::failure::Code;
use fluidcloud_proto::request::Needs;

use super::*;

const GIB: u64 = 1 << 30;

fn id(name: &str) -> ProviderId {
    name.parse().unwrap()
}

fn facts(name: &str) -> Facts {
    Facts {
        provider: id(name),
        driver: "libvirt".into(),
        region: None,
        labels: BTreeMap::new(),
        capacity: Ok(Capacity { vcpus: 8, memory_bytes: 16 * GIB, disk_bytes: 100 * GIB }),
    }
}

fn need() -> Need {
    Need {
        fixed: None,
        source: id("here"),
        wants: Needs::default(),
        vcpus: 2,
        memory_bytes: 2 * GIB,
        disk_bytes: 20 * GIB,
    }
}

fn names(offers: &[Offer]) -> Vec<(&str, bool)> {
    offers.iter().map(|offer| (offer.provider.as_str(), offer.fits)).collect()
}

#[test]
fn the_first_fitting_provider_in_configuration_order_comes_first() {
    let made = offers(&need(), &[facts("here"), facts("zebra"), facts("ant")]);
    assert_eq!(names(&made), [("zebra", true), ("ant", true)]);
    assert_eq!(made[0].reasons[0], "the first in the configuration that fits");
}

#[test]
fn the_source_is_never_offered() {
    let made = offers(&need(), &[facts("here")]);
    assert_eq!(made, []);
    let named = offers(&Need { fixed: Some(id("here")), ..need() }, &[facts("here"), facts("b")]);
    assert_eq!(names(&named), [("here", false)]);
}

#[test]
fn a_named_target_is_the_only_one_asked_even_when_it_does_not_fit() {
    let full =
        Facts { capacity: Ok(Capacity { vcpus: 0, memory_bytes: GIB, disk_bytes: 3 * GIB }), ..facts("b") };
    let made = offers(&Need { fixed: Some(id("b")), ..need() }, &[facts("here"), facts("c"), full]);
    assert_eq!(names(&made), [("b", false)]);
    assert_eq!(
        made[0].reasons,
        [
            "2 vCPUs are needed, 0 are free",
            "2.0 GiB of memory are needed, 1.0 GiB are free",
            "20.0 GiB of disk are needed, 3.0 GiB are free",
        ]
    );
}

#[test]
fn a_target_that_is_not_configured_is_refused_with_the_remedy() {
    let made = offers(&Need { fixed: Some(id("nowhere")), ..need() }, &[facts("b")]);
    assert_eq!(names(&made), [("nowhere", false)]);
    assert!(made[0].reasons[0].contains("fluidcloud providers"), "{:?}", made[0].reasons);
}

#[test]
fn a_provider_that_cannot_be_reached_comes_after_those_that_can_with_the_reason() {
    let away = Facts {
        capacity: Err(Failure::later(Code::Unreachable, "host b does not answer", "check the network")),
        ..facts("b")
    };
    let made = offers(&need(), &[away, facts("c")]);
    assert_eq!(names(&made), [("c", true), ("b", false)]);
    assert_eq!(made[1].reasons, ["it cannot be reached: host b does not answer"]);
}

#[test]
fn every_want_that_is_not_met_is_a_reason() {
    let wants = Needs {
        region: Some("eu".into()),
        driver: Some("openstack".into()),
        labels: [("tier".to_owned(), "gold".to_owned()), ("law".to_owned(), "ch".to_owned())].into(),
    };
    let labelled = Facts { labels: [("tier".to_owned(), "lead".to_owned())].into(), ..facts("b") };
    let made = offers(&Need { wants, ..need() }, &[labelled]);
    assert_eq!(
        made[0].reasons,
        [
            "region eu is wanted, its region is none in its configuration",
            "driver openstack is wanted, it has libvirt",
            "label law=ch is wanted, it has no such label",
            "label tier=gold is wanted, it has tier=lead",
        ]
    );
}

#[test]
fn a_provider_that_meets_every_want_says_so() {
    let wants = Needs { region: Some("eu".into()), ..Needs::default() };
    let there = Facts { region: Some("eu".into()), ..facts("c") };
    let made = offers(&Need { wants, ..need() }, &[facts("b"), there]);
    assert_eq!(names(&made), [("c", true), ("b", false)]);
    assert_eq!(
        made[0].reasons,
        [
            "the first in the configuration that fits",
            "in region eu",
            "has 8 vCPUs, 16.0 GiB of memory and 100.0 GiB of disk free",
        ]
    );
}
