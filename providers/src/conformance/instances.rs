//! Instances at a target: made once, on its own hardware, found by their mark, removed only by it.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::topology::{DiskRole, Power};

use super::{DISK_BYTES, Fixture, GRACE, MEMORY_BYTES, disk_bytes, expect_error, instance_order, name, undo};
use crate::error::Error;
use crate::furnishing::Size;
use crate::provider::{InstanceOrder, Made, Period, Reservation};

pub(super) async fn all(fixture: &dyn Fixture) {
    an_instance_made_twice_is_one_and_is_what_was_ordered(fixture).await;
    two_callers_at_once_make_one_instance(fixture).await;
    it_starts_and_stops_however_often_it_is_asked(fixture).await;
    a_taken_name_changes_nothing(fixture).await;
    only_its_own_relocation_removes_an_instance(fixture).await;
    for autostart in [true, false] {
        an_instance_starts_by_itself_only_when_settled(fixture, autostart).await;
    }
    what_is_not_there_is_unknown(fixture).await;
    a_reservation_needs_room_and_free_names(fixture).await;
    what_was_used_is_told_or_refused_with_the_remedy(fixture).await;
    addresses_held_early_are_those_of_the_instance_or_are_given_up(fixture).await;
}

async fn an_instance_made_twice_is_one_and_is_what_was_ordered(fixture: &dyn Fixture) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let order = instance_order(&*provider, relocation).await;
    for caller in [fixture.provider(), fixture.another()] {
        caller.create_instance(&order).await.expect("create_instance");
    }
    let made = provider.made_for(relocation).await.expect("made_for");
    assert!(made.contains(&Made::Instance { name: order.name.clone() }), "{made:?}");
    assert_eq!(made.len(), 3, "{made:?}");
    let listed = provider.instances().await.expect("instances");
    assert_eq!(listed.iter().filter(|(listed, _)| *listed == order.name).count(), 1);
    assert!(listed.contains(&(order.name.clone(), Power::Stopped)));

    let instance = provider.inspect(&order.name).await.expect("inspect");
    let memory_bytes = fixture.memory_bytes().await;
    assert!(memory_bytes >= MEMORY_BYTES, "never less than ordered");
    assert_eq!((instance.vcpus, instance.memory_bytes, instance.power), (1, memory_bytes, Power::Stopped));
    assert_eq!(instance.firmware, order.firmware);
    let places: Vec<_> = instance.disks.iter().map(|disk| disk.place.clone()).collect();
    let ordered: Vec<_> = order.disks.iter().map(|(_, place)| place.clone()).collect();
    assert_eq!(places, ordered, "root first, then in the order given");
    let roles: Vec<_> = instance.disks.iter().map(|disk| disk.role).collect();
    assert_eq!(roles, [DiskRole::Root, DiskRole::Volume]);
    assert!(
        instance.disks.iter().all(|disk| disk.size_bytes == disk_bytes(&*provider)),
        "{:?}",
        instance.disks
    );
    assert!(instance.disks.iter().all(|disk| disk.bus == provider.hardware().disk_bus));
    assert_eq!(instance.nics[0].mac, order.nics[0].mac, "the hardware address is kept");
    assert_eq!(instance.nics[0].model, provider.hardware().nic, "the model is the target's");
    assert_ne!(instance.nics[0].network, order.nics[0].network, "the network is the target's");
    assert_eq!(instance.addresses, [] as [std::net::IpAddr; 0]);
    undo(&*provider, &order).await;
}

async fn two_callers_at_once_make_one_instance(fixture: &dyn Fixture) {
    let (one, other) = (fixture.provider(), fixture.another());
    let order = instance_order(&*one, RelocationId::new()).await;
    let (first, second) = futures::join!(one.create_instance(&order), other.create_instance(&order));
    first.and(second).expect("create_instance at the same time");
    let (first, second) = futures::join!(one.start(&order.name), other.start(&order.name));
    assert!(first.is_ok() && second.is_ok(), "start at the same time: {first:?} {second:?}");
    assert_eq!(one.power(&order.name).await.expect("power"), Power::Running);
    undo(&*one, &order).await;
}

async fn it_starts_and_stops_however_often_it_is_asked(fixture: &dyn Fixture) {
    let provider = fixture.provider();
    let order = instance_order(&*provider, RelocationId::new()).await;
    provider.create_instance(&order).await.expect("create_instance");
    for _ in 0..2 {
        provider.start(&order.name).await.expect("start");
        assert_eq!(fixture.another().power(&order.name).await.expect("power"), Power::Running);
    }
    let running = provider.inspect(&order.name).await.expect("inspect while it runs");
    assert_eq!((running.power, running.disks.len()), (Power::Running, 2));
    provider.addresses(&order.name).await.expect("addresses of one that has none yet");
    let mut stopped = Vec::new();
    for _ in 0..2 {
        stopped.push(provider.stop(&order.name, GRACE).await.expect("stop"));
        assert_eq!(provider.power(&order.name).await.expect("power"), Power::Stopped);
    }
    assert_eq!(stopped[0], stopped[1], "how it went off is told again");
    assert_eq!(provider.addresses(&order.name).await.expect("addresses"), [] as [std::net::IpAddr; 0]);
    undo(&*provider, &order).await;
}

async fn a_taken_name_changes_nothing(fixture: &dyn Fixture) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let foreign = name("foreign");
    fixture.make_foreign(&foreign, false).await;
    let before = provider.inspect(&foreign).await.expect("inspect");
    let content = fixture.read(&before.disks[0].place).await;
    let order = instance_order(&*provider, relocation).await;
    let taken = InstanceOrder { name: foreign.clone(), ..order.clone() };
    expect_error!(provider.create_instance(&taken), Error::NameTaken { .. });
    provider.delete_instance(relocation, &foreign).await.expect("delete_instance of what is not its own");
    assert_eq!(provider.inspect(&foreign).await.expect("inspect"), before);
    assert_eq!(fixture.read(&before.disks[0].place).await, content);
    undo(&*provider, &order).await;
}

async fn only_its_own_relocation_removes_an_instance(fixture: &dyn Fixture) {
    let (provider, other) = (fixture.provider(), RelocationId::new());
    let order = instance_order(&*provider, RelocationId::new()).await;
    provider.create_instance(&order).await.expect("create_instance");
    provider.start(&order.name).await.expect("start");
    provider.delete_instance(other, &order.name).await.expect("delete_instance");
    assert_eq!(provider.power(&order.name).await.expect("power"), Power::Running);
    let others = InstanceOrder { relocation: other, ..order.clone() };
    expect_error!(provider.create_instance(&others), Error::NameTaken { .. });
    for _ in 0..2 {
        provider.delete_instance(order.relocation, &order.name).await.expect("delete_instance");
        expect_error!(provider.power(&order.name), Error::UnknownInstance { .. });
    }
    let made = provider.made_for(order.relocation).await.expect("made_for");
    assert_eq!(made.len(), 2, "its disks stay: {made:?}");
    undo(&*provider, &order).await;
}

async fn an_instance_starts_by_itself_only_when_settled(fixture: &dyn Fixture, autostart: bool) {
    let provider = fixture.provider();
    let order = InstanceOrder { autostart, ..instance_order(&*provider, RelocationId::new()).await };
    provider.create_instance(&order).await.expect("create_instance");
    assert!(!fixture.starts_by_itself(&order.name).await);
    fixture.leave_scraps(order.relocation, &order.disks[0].1).await;
    provider.settle(order.relocation).await.expect("settle");
    assert_eq!(fixture.starts_by_itself(&order.name).await, autostart, "as it was ordered");
    assert_eq!(provider.inspect(&order.name).await.expect("inspect").autostart, autostart);
    assert_eq!(provider.made_for(order.relocation).await.expect("made_for").len(), 3);
    undo(&*provider, &order).await;
}

async fn what_is_not_there_is_unknown(fixture: &dyn Fixture) {
    let (provider, nobody, relocation) = (fixture.provider(), name("nobody"), RelocationId::new());
    expect_error!(provider.inspect(&nobody), Error::UnknownInstance { .. });
    expect_error!(provider.power(&nobody), Error::UnknownInstance { .. });
    expect_error!(provider.start(&nobody), Error::UnknownInstance { .. });
    expect_error!(provider.stop(&nobody, GRACE), Error::UnknownInstance { .. });
    expect_error!(provider.addresses(&nobody), Error::UnknownInstance { .. });
    expect_error!(provider.keep_source(&nobody, relocation, ""), Error::UnknownInstance { .. });
    expect_error!(provider.release_source(&nobody, relocation), Error::UnknownInstance { .. });
    provider.delete_instance(relocation, &nobody).await.expect("delete_instance of nothing");
    provider.delete_disk(relocation, &super::disk_id("sda")).await.expect("delete_disk of nothing");
    provider.settle(relocation).await.expect("settle of nothing");
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), []);
}

async fn a_reservation_needs_room_and_free_names(fixture: &dyn Fixture) {
    let provider = fixture.provider();
    let free = provider.capacity().await.expect("capacity");
    assert!(free.vcpus > 0 && free.memory_bytes > 0 && free.disk_bytes > 0, "{free:?}");
    let order = instance_order(&*provider, RelocationId::new()).await;
    let (vcpus, memory_bytes, disk_bytes) = (1, MEMORY_BYTES, DISK_BYTES);
    let instances = vec![order.name.clone()];
    let size = Size { instance: order.name.clone(), vcpus, memory_bytes, flavor: None };
    let fits = Reservation {
        relocation: order.relocation,
        instances,
        vcpus,
        memory_bytes,
        disk_bytes,
        disks: 2,
        sizes: vec![size],
        networks: Vec::new(),
    };
    provider.reserve(&fits).await.expect("reserve");
    provider.create_instance(&order).await.expect("create_instance");
    provider.reserve(&fits).await.expect("reserve again, after a crash");

    let others = Reservation { relocation: RelocationId::new(), ..fits.clone() };
    expect_error!(provider.reserve(&others), Error::NameTaken { .. });
    expect_error!(
        provider.reserve(&Reservation { disk_bytes: u64::MAX, ..fits.clone() }),
        Error::NoRoom { .. }
    );
    expect_error!(
        provider.reserve(&Reservation { memory_bytes: u64::MAX, ..fits.clone() }),
        Error::NoRoom { .. }
    );
    let crowd = Reservation { vcpus: u32::MAX, ..fits };
    expect_error!(provider.reserve(&crowd), Error::Unsupported { .. });
    undo(&*provider, &order).await;
}

async fn what_was_used_is_told_or_refused_with_the_remedy(fixture: &dyn Fixture) {
    let provider = fixture.provider();
    let nobody = [name("ghost")];
    match provider.usage(&[], Period::default()).await {
        Err(Error::Unsupported { remedy, .. }) => assert!(!remedy.is_empty()),
        told => {
            let usage = told.expect("usage");
            assert_eq!(usage.provider, *provider.id());
            expect_error!(provider.usage(&nobody, Period::default()), Error::UnknownInstance { .. });
        }
    }
}

async fn addresses_held_early_are_those_of_the_instance_or_are_given_up(fixture: &dyn Fixture) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let order = instance_order(&*provider, relocation).await;
    if !provider.holds_addresses() {
        expect_error!(provider.hold_addresses(&order), Error::Unsupported { .. });
        return undo(&*provider, &order).await;
    }
    let disks = provider.made_for(relocation).await.expect("made_for");
    let early = InstanceOrder { disks: Vec::new(), ..order.clone() };
    let held = provider.hold_addresses(&early).await.expect("hold_addresses");
    assert_eq!(held[0].mac, order.nics[0].mac);
    assert!(!held[0].addresses.is_empty(), "{held:?}");
    assert_eq!(fixture.another().hold_addresses(&early).await.expect("hold_addresses again"), held);
    assert_ne!(provider.made_for(relocation).await.expect("made_for"), disks, "what is held must be found");
    for _ in 0..2 {
        provider.release_addresses(relocation, &order.name).await.expect("release_addresses");
        assert_eq!(provider.made_for(relocation).await.expect("made_for"), disks);
    }

    let held = provider.hold_addresses(&early).await.expect("hold_addresses");
    provider.create_instance(&order).await.expect("create_instance");
    provider.start(&order.name).await.expect("start");
    let nics = provider.inspect(&order.name).await.expect("inspect").nics;
    assert_eq!(nics[0].addresses, held[0].addresses, "it has the addresses that were held");
    provider.release_addresses(relocation, &order.name).await.expect("release_addresses");
    let nics = provider.inspect(&order.name).await.expect("inspect").nics;
    assert_eq!(nics[0].addresses, held[0].addresses, "what is used is not given up");
    undo(&*provider, &order).await;
}
