//! The configured providers by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluidcloud_proto::ids::ProviderId;

use crate::config::{Driver, ProviderConfig};
use crate::error::Error;
use crate::libvirt::LibvirtProvider;
use crate::memory::MemoryProvider;
use crate::openstack::OpenstackProvider;
use crate::provider::Provider;

#[derive(Clone, Debug, Default)]
pub struct Registry {
    providers: BTreeMap<ProviderId, Arc<dyn Provider>>,
    configs: BTreeMap<ProviderId, ProviderConfig>,
}

impl Registry {
    /// Drivers connect when first used: a provider that is down does not keep the others from working.
    pub fn from_config(configs: &[ProviderConfig]) -> Result<Self, Error> {
        let mut registry = Self::default();
        for config in configs {
            if registry.providers.contains_key(&config.id) {
                let what = "the id is used twice: give each provider its own".to_owned();
                return Err(Error::Config { provider: config.id.to_string(), what });
            }
            let provider: Arc<dyn Provider> = match config.driver {
                Driver::Libvirt => Arc::new(LibvirtProvider::from_config(config)?),
                Driver::Memory => Arc::new(MemoryProvider::from_config(config)),
                Driver::Openstack => Arc::new(openstack(config)?),
            };
            registry.configs.insert(config.id.clone(), config.clone());
            registry.providers.insert(config.id.clone(), provider);
        }
        Ok(registry)
    }

    /// Adds a provider made in code, as tests do.
    pub fn with(mut self, provider: Arc<dyn Provider>) -> Self {
        self.providers.insert(provider.id().clone(), provider);
        self
    }

    pub fn get(&self, id: &ProviderId) -> Result<Arc<dyn Provider>, Error> {
        self.providers.get(id).cloned().ok_or_else(|| Error::UnknownProvider(id.to_string()))
    }

    pub fn config(&self, id: &ProviderId) -> Option<&ProviderConfig> {
        self.configs.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.values()
    }

    pub fn ids(&self) -> impl Iterator<Item = &ProviderId> {
        self.providers.keys()
    }
}

fn openstack(config: &ProviderConfig) -> Result<OpenstackProvider, Error> {
    let cloud = config.openstack.as_deref().ok_or_else(|| Error::Config {
        provider: config.id.to_string(),
        what: "driver openstack needs an `openstack` part: name the entry of clouds.yaml, a network and a helper".to_owned(),
    })?;
    OpenstackProvider::from_config(&config.id, &config.shape, cloud)
}
