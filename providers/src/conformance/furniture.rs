//! What is made after a source's: once, used by whoever comes later, removed by its own relocation only.

use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::request::FloatingIp;
use fluidcloud_proto::surroundings::{SecurityGroup, Surroundings};

use super::{Fixture, expect_error};
use crate::error::Error;
use crate::furnishing::{Decision, Furnishing, GroupWanted, KeyWanted};
use crate::provider::Made;

pub(super) async fn all(fixture: &dyn Fixture) {
    let label = format!("conform-{}", &RelocationId::new().to_string()[..8]);
    let Some(surroundings) = fixture.surroundings(&label) else {
        assert!(!fixture.provider().furnishes(), "it makes such things: the fixture must name some");
        return;
    };
    let order = |relocation| Furnishing {
        relocation,
        source: "elsewhere".parse().expect("a name"),
        surroundings: surroundings.clone(),
        decisions: Vec::new(),
    };
    furnished_twice_is_once(fixture, &order(RelocationId::new())).await;
    two_callers_at_once_furnish_once(fixture, &order(RelocationId::new())).await;
    what_is_there_is_used_and_stays(fixture, &order(RelocationId::new()), &order(RelocationId::new())).await;
    what_is_decided_is_made_once_and_given_back(fixture, &label).await;
}

async fn undone(fixture: &dyn Fixture, relocation: RelocationId) {
    for caller in [fixture.provider(), fixture.another()] {
        caller.unfurnish(relocation).await.expect("unfurnish");
        assert_eq!(caller.made_for(relocation).await.expect("made_for"), []);
    }
}

async fn furnished_twice_is_once(fixture: &dyn Fixture, order: &Furnishing) {
    let provider = fixture.provider();
    let first = provider.furnish(order).await.expect("furnish");
    assert!(!first.0.is_empty() && first.0.iter().all(|it| it.made && !it.id.is_empty()), "{first:?}");
    let made = provider.made_for(order.relocation).await.expect("made_for");
    assert_eq!(made.len(), first.0.len(), "{made:?} for {first:?}");
    assert!(made.iter().all(|made| matches!(made, Made::Furniture { .. })), "{made:?}");
    assert_eq!(fixture.another().furnish(order).await.expect("furnish again"), first);
    assert_eq!(provider.made_for(order.relocation).await.expect("made_for"), made);
    provider.settle(order.relocation).await.expect("settle");
    assert_eq!(provider.made_for(order.relocation).await.expect("made_for"), made, "settling keeps it");
    undone(fixture, order.relocation).await;
}

async fn two_callers_at_once_furnish_once(fixture: &dyn Fixture, order: &Furnishing) {
    let (one, other) = (fixture.provider(), fixture.another());
    let (first, second) = futures::join!(one.furnish(order), other.furnish(order));
    let (first, second) = (first.expect("furnish"), second.expect("furnish at the same time"));
    let ids = |furnished: &fluidcloud_proto::furniture::Furnished| -> Vec<String> {
        furnished.0.iter().map(|it| it.id.clone()).collect()
    };
    assert_eq!(ids(&first), ids(&second), "both speak of the same things");
    assert_eq!(one.made_for(order.relocation).await.expect("made_for").len(), first.0.len());
    undone(fixture, order.relocation).await;
}

async fn what_is_there_is_used_and_stays(fixture: &dyn Fixture, first: &Furnishing, second: &Furnishing) {
    let provider = fixture.provider();
    let made = provider.furnish(first).await.expect("furnish");
    let used = provider.furnish(second).await.expect("furnish by another relocation");
    for furniture in &used.0 {
        let there = made.find(furniture.kind, &furniture.source).expect("the same things");
        assert!(!furniture.made && furniture.id == there.id, "{furniture:?}, there is {there:?}");
    }
    undone(fixture, second.relocation).await;
    let left = provider.made_for(first.relocation).await.expect("made_for");
    assert_eq!(left.len(), made.0.len(), "undo takes nothing of others: {left:?}");
    undone(fixture, first.relocation).await;
}

/// What a request decides for one instance.
async fn what_is_decided_is_made_once_and_given_back(fixture: &dyn Fixture, label: &str) {
    const PUBLIC: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkS9yFkkRNFSq0Vw5P5gJfSdhQfV1n2yq1yPqEuzsmN me@host";
    let provider = fixture.provider();
    if !provider.decides() {
        return;
    }
    let rule = serde_json::json!({"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_min": 4711, "port_max": 4712, "remote": {"addresses": "198.18.7.0/24"}});
    let like: Vec<SecurityGroup> =
        serde_json::from_value(serde_json::json!([{"name": "web", "rules": [rule]}])).expect("a group");
    let decide = |at: usize, key: KeyWanted, new: Option<String>| Decision {
        component: format!("part-{at}").parse().expect("a name"),
        instance: format!("{label}-{at}").parse().expect("a name"),
        key: Some(key),
        group: Some(GroupWanted { new, like: like.clone() }),
        address: Some(FloatingIp::New),
    };
    let name = format!("{label}-key");
    let import = KeyWanted::Import { name: name.clone(), public_key: PUBLIC.to_owned() };
    let order = |relocation, decisions| Furnishing {
        relocation,
        source: "elsewhere".parse().expect("a name"),
        surroundings: Surroundings::default(),
        decisions,
    };
    let relocation = RelocationId::new();
    // The one that selects comes first, and finds what the other imports.
    let decisions = vec![
        decide(0, KeyWanted::Select(name.clone()), None),
        decide(1, import.clone(), Some(format!("{label}-named"))),
    ];
    let decided = order(relocation, decisions);
    let first = provider.furnish(&decided).await.expect("furnish");
    let made = provider.made_for(relocation).await.expect("made_for");
    // Key pair, named group, rules in the default one, two addresses.
    assert_eq!(made.len(), 5, "{made:?} for {first:?}");
    assert!(made.iter().all(|made| matches!(made, Made::Furniture { .. })), "{made:?}");
    let part = |at: usize| format!("part-{at}").parse().expect("a name");
    for at in [0, 1] {
        let key = first.decided(FurnitureKind::Keypair, &part(at)).expect("a key");
        assert!(key.target == name && key.made, "{key:?}");
        let address = first.decided(FurnitureKind::FloatingIp, &part(at)).expect("an address");
        assert!(address.made && !address.id.is_empty(), "{address:?}");
    }
    let default = first.decided(FurnitureKind::SecurityGroup, &part(0)).expect("a group");
    assert!(default.target == "default" && !default.made, "{default:?}");
    assert_eq!(fixture.another().furnish(&decided).await.expect("furnish again"), first);
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), made, "once");

    let other = RelocationId::new();
    let taken = vec![decide(2, import_of_another(&name), None)];
    expect_error!(provider.furnish(&order(other, taken)), Error::NameTaken { .. });
    let nobody = vec![decide(3, KeyWanted::Select(format!("{label}-nobody")), None)];
    expect_error!(provider.furnish(&order(other, nobody)), Error::NotThere { .. });
    undone(fixture, other).await;
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), made, "undo takes nothing of others");
    undone(fixture, relocation).await;
}

fn import_of_another(name: &str) -> KeyWanted {
    let public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDq6QzG2V2dXwXNxkJ5bQ6tXUQ9qU3mVwqzqgQ3o2nZy";
    KeyWanted::Import { name: name.to_owned(), public_key: public_key.to_owned() }
}
