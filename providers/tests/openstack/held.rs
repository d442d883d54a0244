//! Addresses that a real Neutron keeps for an instance that is not there yet.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::topology::{Firmware, Nic};
use fluidcloud_providers::conformance::{Fixture, MEMORY_BYTES};
use fluidcloud_providers::{InstanceOrder, Made};

use crate::real::Real;

fn order(relocation: RelocationId, number: u8) -> InstanceOrder {
    let id = relocation.0.as_bytes();
    InstanceOrder {
        relocation,
        name: format!("held-{}-{number}", &relocation.to_string()[..8]).parse().unwrap(),
        vcpus: 1,
        memory_bytes: MEMORY_BYTES,
        firmware: Firmware::Bios,
        disks: Vec::new(),
        nics: vec![Nic {
            mac: format!("52:54:00:{:02x}:{:02x}:{number:02x}", id[0], id[1]),
            model: "virtio".into(),
            network: "elsewhere".into(),
            addresses: Vec::new(),
            floating: Vec::new(),
            security_groups: Vec::new(),
        }],
        settings: None,
        furnished: Default::default(),
        launched: Default::default(),
        autostart: false,
        note: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_held_once_kept_where_it_is_free_and_given_up_by_undo() {
    let Some(real) = Real::start().await else { return };
    let before = real.listing().await;
    let (provider, relocation) = (real.provider(), RelocationId::new());
    let first = order(relocation, 1);
    let (one, again) = (provider.hold_addresses(&first).await.unwrap(), real.another());
    assert_eq!(again.hold_addresses(&first).await.unwrap(), one);
    println!("{one:?}");
    let address = one[0].addresses[0];

    // Taken by the first: the second gets another one of the same network.
    let mut second = order(relocation, 2);
    second.nics[0].addresses = vec![address];
    let other = provider.hold_addresses(&second).await.unwrap();
    assert_ne!(other[0].addresses[0], address);
    let made = provider.made_for(relocation).await.unwrap();
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(
        made.iter().all(|made| matches!(made, Made::Scrap { path } if path.starts_with("port"))),
        "{made:?}"
    );

    provider.release_addresses(relocation, &first.name).await.unwrap();
    assert_eq!(provider.made_for(relocation).await.unwrap().len(), 1, "only its own");
    // Free again: kept now, as a source's address is where the subnet has it.
    provider.release_addresses(relocation, &second.name).await.unwrap();
    assert_eq!(provider.hold_addresses(&second).await.unwrap()[0].addresses, [address]);
    for _ in 0..2 {
        provider.release_addresses(relocation, &second.name).await.unwrap();
        assert_eq!(provider.made_for(relocation).await.unwrap(), []);
    }
    assert_eq!(real.listing().await, before, "the project is as it was found");
}
