//! What is made after a source's: once, used by whoever comes later, removed by its own relocation only.

use fluidcloud_proto::ids::RelocationId;

use super::Fixture;
use crate::furnishing::Furnishing;
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
    };
    furnished_twice_is_once(fixture, &order(RelocationId::new())).await;
    two_callers_at_once_furnish_once(fixture, &order(RelocationId::new())).await;
    what_is_there_is_used_and_stays(fixture, &order(RelocationId::new()), &order(RelocationId::new())).await;
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
