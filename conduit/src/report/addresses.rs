//! Where each moved instance was and is reached: the addresses of its network cards at the source, as inspected, beside those
//! at the target, as it ran when it was verified.

use std::net::IpAddr;

use fluidcloud_proto::ids::ComponentName;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::report::{AddressKind, AddressReport};
use fluidcloud_proto::topology::{Instance, Nic};

use crate::relocation::{Done, Relocation, target_name};

pub(super) fn of(relocation: &Relocation) -> Vec<AddressReport> {
    let mut all = Vec::new();
    for (component, wanted) in relocation.moving() {
        let Ok(placed) = relocation.placed(component) else { continue };
        let old = before(&placed.instance);
        let new = after(relocation, component, &old);
        for (at, card) in old.iter().enumerate() {
            let same = new.iter().find(|other| other.mac.eq_ignore_ascii_case(&card.mac)).or(new.get(at));
            let pairs = [
                (AddressKind::Fixed, &card.addresses, same.map(|same| &same.addresses)),
                (AddressKind::Floating, &card.floating, same.map(|same| &same.floating)),
            ];
            for (kind, old, new) in pairs {
                let told = |(old, new)| AddressReport {
                    component: component.clone(),
                    instance: target_name(wanted).clone(),
                    name: wanted.id.clone(),
                    network: same.map(|same| same.network.clone()).unwrap_or_default(),
                    mac: card.mac.clone(),
                    old,
                    new,
                    kind,
                };
                all.extend(paired(old, new.map(Vec::as_slice).unwrap_or_default()).map(told));
            }
        }
    }
    all
}

/// Some providers know the addresses of an instance, not of which card they are: they count as the first one's.
fn before(instance: &Instance) -> Vec<Nic> {
    with_addresses(instance.nics.clone(), &instance.addresses)
}

fn after(relocation: &Relocation, component: &ComponentName, old: &[Nic]) -> Vec<Nic> {
    let verified = relocation.step(&StepId::Verify(component.clone()));
    let Some(Done::Verified { addresses, nics, .. }) = verified.and_then(|step| step.output.as_ref()) else {
        return Vec::new();
    };
    if nics.is_empty() {
        // Written by a conduit that did not look at them, or its provider did not answer.
        let unknown = |nic: &Nic| Nic {
            network: String::new(),
            addresses: Vec::new(),
            floating: Vec::new(),
            ..nic.clone()
        };
        return with_addresses(old.iter().map(unknown).collect(), addresses);
    }
    with_addresses(nics.clone(), addresses)
}

fn with_addresses(mut nics: Vec<Nic>, addresses: &[IpAddr]) -> Vec<Nic> {
    let known = nics.iter().any(|nic| !nic.addresses.is_empty() || !nic.floating.is_empty());
    if let Some(first) = nics.first_mut().filter(|_| !known) {
        first.addresses = addresses.to_vec();
    }
    nics
}

/// Those of the same version side by side, in their order.
fn paired(old: &[IpAddr], new: &[IpAddr]) -> impl Iterator<Item = (Option<IpAddr>, Option<IpAddr>)> {
    let mut pairs = Vec::new();
    for version in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
        let of = |all: &[IpAddr]| -> Vec<IpAddr> { all.iter().filter(|one| version(one)).copied().collect() };
        let (old, new) = (of(old), of(new));
        // One that was kept is beside itself, whatever its place.
        let (kept, gone): (Vec<_>, Vec<_>) = old.into_iter().partition(|one| new.contains(one));
        let come: Vec<IpAddr> = new.into_iter().filter(|one| !kept.contains(one)).collect();
        pairs.extend(kept.into_iter().map(|one| (Some(one), Some(one))));
        let longest = gone.len().max(come.len());
        pairs.extend((0..longest).map(|at| (gone.get(at).copied(), come.get(at).copied())));
    }
    pairs.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(given: &[&str]) -> Vec<IpAddr> {
        given.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_paired_by_version_and_those_kept_with_themselves() {
        let old = addresses(&["10.0.0.1", "fd00::1", "10.0.0.2"]);
        let new = addresses(&["10.9.0.9", "10.0.0.1"]);
        let told: Vec<String> = paired(&old, &new)
            .map(|(old, new)| {
                let shown = |one: Option<IpAddr>| one.map_or("-".to_owned(), |one| one.to_string());
                format!("{} {}", shown(old), shown(new))
            })
            .collect();
        assert_eq!(told, ["10.0.0.1 10.0.0.1", "10.0.0.2 10.9.0.9", "fd00::1 -"]);
        assert_eq!(paired(&[], &addresses(&["10.0.0.1"])).count(), 1);
    }
}
