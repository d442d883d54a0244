//! What is free: the pool's directory, the node's memory and processors, the names.

use std::sync::Arc;

use fluidcloud_proto::status::Capacity;
use roxmltree::Document;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::enumutil::Enum;
use virt::error::{Error as VirtError, ErrorNumber};

use super::describe::{self, Source};
use super::{LibvirtProvider, lifecycle};
use crate::error::Error;
use crate::provider::Reservation;
use crate::site::Command;

const LOOK_SECS: u64 = 30;
/// Free kilobytes of the directory, then those of memory.
const FREE: &str =
    r#"df -Pk -- "$1" | awk 'NR == 2 { print $4 }'; awk '/^MemAvailable:/ { print $2 }' /proc/meminfo"#;

/// libvirt's way to say that a thing is not there.
pub(super) fn found<T>(looked_up: Result<T, VirtError>) -> Result<Option<T>, VirtError> {
    let missing = [ErrorNumber::NoDomain, ErrorNumber::NoStoragePool, ErrorNumber::NoNetwork];
    match looked_up {
        Ok(thing) => Ok(Some(thing)),
        Err(error) if missing.iter().any(|missing| error.code() == Enum::Known(*missing)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn find(connect: &Connect, name: &str) -> Result<Option<Domain>, VirtError> {
    found(connect.lookup_domain_by_name(name))
}

pub(super) fn path_of(connect: &Connect, source: Source) -> Result<String, VirtError> {
    match source {
        Source::Path(path) => Ok(path),
        Source::Volume { pool, volume } => {
            connect.lookup_storage_pool_by_name(&pool)?.lookup_storage_vol_by_name(&volume)?.path()
        }
    }
}

enum Pool {
    Dir(String),
    Inactive,
    Missing,
    /// Without a directory.
    Other,
}

impl LibvirtProvider {
    /// Absolute, without a slash at its end.
    pub(super) async fn pool_dir(&self) -> Result<String, Error> {
        let name: Arc<str> = self.pool.as_str().into();
        let pool = self
            .connection
            .call(format!("look at pool `{name}`"), move |connect| look(connect, &name))
            .await?;
        let told = match pool {
            Pool::Dir(dir) => return Ok(dir),
            Pool::Inactive => format!("storage pool `{0}` is not active: `virsh pool-start {0}`", self.pool),
            Pool::Missing => format!("there is no storage pool `{}`: name another, or define it", self.pool),
            Pool::Other => format!("storage pool `{}` has no directory: name one of kind `dir`", self.pool),
        };
        Err(Error::Config { provider: self.id.to_string(), what: told })
    }

    /// So that libvirt's own tools see what changed; nothing here depends on it.
    pub(super) async fn refresh_pool(&self) {
        let name = self.pool.clone();
        let refreshed = self.connection.call(format!("refresh pool `{name}`"), move |connect| {
            connect.lookup_storage_pool_by_name(&name)?.refresh(0)
        });
        if let Err(error) = refreshed.await {
            tracing::debug!(provider = %self.id, %error, "the pool was not refreshed");
        }
    }

    /// Processors are shared by all guests: those of the node are free for any.
    pub(super) async fn free(&self) -> Result<Capacity, Error> {
        let dir = self.pool_dir().await?;
        let node = self.connection.call("look at the node", |connect| connect.node_info()).await?;
        let command = Command::new("sh").args(["-c", FREE, "sh", &dir]).timeout_secs(LOOK_SECS);
        let told = self.site.run(&command).await?.text();
        let mut bytes = told.lines().map(|line| line.trim().parse::<u64>().unwrap_or(0) * 1024);
        let (disk_bytes, memory_bytes) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
        Ok(Capacity { vcpus: node.cpus, memory_bytes, disk_bytes })
    }

    pub(super) async fn check_room(&self, wanted: &Reservation) -> Result<(), Error> {
        let relocation = wanted.relocation;
        for name in &wanted.instances {
            let looked = name.to_string();
            let taken = self.connection.call(format!("look for `{name}`"), move |connect| {
                find(connect, &looked)?.map_or(Ok(false), |domain| lifecycle::is_foreign(&domain, relocation))
            });
            if taken.await? {
                return Err(Error::NameTaken { provider: self.id.to_string(), name: name.to_string() });
            }
        }
        self.check_network().await?;
        let free = self.free().await?;
        let short = |place: String, needed: u64, free: u64| {
            let provider = self.id.to_string();
            if needed > free { Err(Error::NoRoom { provider, place, needed, free }) } else { Ok(()) }
        };
        short("memory".to_owned(), wanted.memory_bytes, free.memory_bytes)?;
        short(format!("pool `{}`", self.pool), wanted.disk_bytes, free.disk_bytes)?;
        if wanted.vcpus > free.vcpus {
            return Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("give {} processors, it has {}", wanted.vcpus, free.vcpus),
                remedy: "choose another target".to_owned(),
            });
        }
        Ok(())
    }

    async fn check_network(&self) -> Result<(), Error> {
        let name = self.network.clone();
        let active = self.connection.call(format!("look at network `{name}`"), move |connect| {
            found(connect.lookup_network_by_name(&name))?.map(|network| network.is_active()).transpose()
        });
        let told = match active.await? {
            Some(true) => return Ok(()),
            Some(false) => format!("network `{0}` is not active: `virsh net-start {0}`", self.network),
            None => format!("there is no network `{}`: name another, or define it", self.network),
        };
        Err(Error::Config { provider: self.id.to_string(), what: told })
    }
}

fn look(connect: &Connect, name: &str) -> Result<Pool, VirtError> {
    let Some(pool) = found(connect.lookup_storage_pool_by_name(name))? else { return Ok(Pool::Missing) };
    if !pool.is_active()? {
        return Ok(Pool::Inactive);
    }
    let xml = pool.xml_desc(0)?;
    let dir = Document::parse(&xml).ok().and_then(|pool| {
        let root = pool.root_element();
        let kind = root.attribute("type").is_some_and(|kind| ["dir", "fs", "netfs"].contains(&kind));
        let path = describe::path(root, &["target", "path"])?.text()?.trim().trim_end_matches('/').to_owned();
        (kind && path.starts_with('/')).then_some(path)
    });
    Ok(dir.map_or(Pool::Other, Pool::Dir))
}
