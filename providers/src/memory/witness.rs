//! Sees what all simulated providers of one test do, and records what must never happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fluidcloud_proto::ids::{InstanceName, ProviderId};

use super::lock;

/// Shared by the providers of one test. The identity of an instance is its hardware addresses: no two that run
/// may share one, at whatever providers.
#[derive(Clone, Debug, Default)]
pub struct Witness(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    running: BTreeMap<String, BTreeSet<(ProviderId, InstanceName)>>,
    illegal: Vec<String>,
}

impl Witness {
    /// What must not have happened, in order. Empty is good.
    pub fn illegal_acts(&self) -> Vec<String> {
        lock(&self.0).illegal.clone()
    }

    /// Who runs with this hardware address.
    pub fn running_with(&self, mac: &str) -> Vec<(ProviderId, InstanceName)> {
        lock(&self.0).running.get(mac).map(|them| them.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn record(&self, act: String) {
        lock(&self.0).illegal.push(act);
    }

    pub(super) fn started(&self, provider: &ProviderId, instance: &InstanceName, macs: &[String]) {
        let mut seen = lock(&self.0);
        for mac in macs {
            let them = seen.running.entry(mac.clone()).or_default();
            them.insert((provider.clone(), instance.clone()));
            if them.len() > 1 {
                let names: Vec<_> = them.iter().map(|(provider, it)| format!("{provider}/{it}")).collect();
                seen.illegal.push(format!("{mac} runs more than once: {}", names.join(", ")));
            }
        }
    }

    pub(super) fn stopped(&self, provider: &ProviderId, instance: &InstanceName, macs: &[String]) {
        let mut seen = lock(&self.0);
        for mac in macs {
            if let Some(them) = seen.running.get_mut(mac) {
                them.remove(&(provider.clone(), instance.clone()));
            }
        }
    }
}
