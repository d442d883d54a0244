//! Which providers fit a need, best first, and why. Pure: facts in, offers out.

use std::collections::BTreeMap;

use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::offer::{Need, Offer};
use fluidcloud_proto::status::Capacity;

/// What is known of one provider: its configuration, and what it said when last asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub provider: ProviderId,
    pub driver: String,
    pub region: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub capacity: Result<Capacity, Failure>,
}

/// Offers of the providers asked, those that fit first, otherwise in the order of `facts`, which is the order of the
/// configuration. The source is never among them.
pub fn offers(need: &Need, facts: &[Facts]) -> Vec<Offer> {
    if let Some(fixed) = &need.fixed {
        return vec![fixed_offer(need, fixed, facts)];
    }
    let asked = facts.iter().filter(|one| one.provider != need.source);
    let (mut fitting, others): (Vec<_>, Vec<_>) =
        asked.map(|one| offer(need, one)).partition(|offer| offer.fits);
    for (place, offer) in fitting.iter_mut().enumerate() {
        let rank = match place {
            0 => "the first in the configuration that fits".to_owned(),
            _ => format!("number {} in the configuration of those that fit", place + 1),
        };
        offer.reasons.insert(0, rank);
    }
    fitting.extend(others);
    fitting
}

fn fixed_offer(need: &Need, fixed: &ProviderId, facts: &[Facts]) -> Offer {
    if *fixed == need.source {
        let reason = "the service is there now: name another target".to_owned();
        return Offer { provider: fixed.clone(), fits: false, reasons: vec![reason] };
    }
    let Some(known) = facts.iter().find(|one| one.provider == *fixed) else {
        let reason =
            "not configured: add it under `providers`, or name one that `fluidcloud providers` lists";
        return Offer { provider: fixed.clone(), fits: false, reasons: vec![reason.to_owned()] };
    };
    let mut offer = offer(need, known);
    if offer.fits {
        offer.reasons.insert(0, "named by the request".to_owned());
    }
    offer
}

fn offer(need: &Need, facts: &Facts) -> Offer {
    let mut against = unmet_wants(need, facts);
    match &facts.capacity {
        Ok(capacity) => against.extend(missing_room(need, capacity)),
        Err(failure) => against.push(format!("it cannot be reached: {}", failure.message)),
    }
    let fits = against.is_empty();
    let reasons = if fits { met(need, facts) } else { against };
    Offer { provider: facts.provider.clone(), fits, reasons }
}

fn unmet_wants(need: &Need, facts: &Facts) -> Vec<String> {
    let mut against = Vec::new();
    if let Some(region) = &need.wants.region
        && facts.region.as_ref() != Some(region)
    {
        let has = facts.region.as_deref().unwrap_or("none in its configuration");
        against.push(format!("region {region} is wanted, its region is {has}"));
    }
    if let Some(driver) = &need.wants.driver
        && facts.driver != *driver
    {
        against.push(format!("driver {driver} is wanted, it has {}", facts.driver));
    }
    for (label, value) in &need.wants.labels {
        match facts.labels.get(label) {
            Some(has) if has == value => {}
            Some(has) => against.push(format!("label {label}={value} is wanted, it has {label}={has}")),
            None => against.push(format!("label {label}={value} is wanted, it has no such label")),
        }
    }
    against
}

fn missing_room(need: &Need, free: &Capacity) -> Vec<String> {
    let mut against = Vec::new();
    if free.vcpus < need.vcpus {
        against.push(format!("{} vCPUs are needed, {} are free", need.vcpus, free.vcpus));
    }
    if free.memory_bytes < need.memory_bytes {
        against.push(format!(
            "{} of memory are needed, {} are free",
            gib(need.memory_bytes),
            gib(free.memory_bytes)
        ));
    }
    if free.disk_bytes < need.disk_bytes {
        against.push(format!(
            "{} of disk are needed, {} are free",
            gib(need.disk_bytes),
            gib(free.disk_bytes)
        ));
    }
    against
}

fn met(need: &Need, facts: &Facts) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(region) = &need.wants.region {
        reasons.push(format!("in region {region}"));
    }
    if let Some(driver) = &need.wants.driver {
        reasons.push(format!("has the driver {driver}"));
    }
    for (label, value) in &need.wants.labels {
        reasons.push(format!("has the label {label}={value}"));
    }
    if let Ok(free) = &facts.capacity {
        reasons.push(format!(
            "has {} vCPUs, {} of memory and {} of disk free",
            free.vcpus,
            gib(free.memory_bytes),
            gib(free.disk_bytes)
        ));
    }
    reasons
}

fn gib(bytes: u64) -> String {
    if bytes < 1 << 30 {
        return format!("{:.1} MiB", bytes as f64 / (1u64 << 20) as f64);
    }
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

#[cfg(test)]
mod tests;
