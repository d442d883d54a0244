//! A qcow2 image as an end: served by `qemu-nbd`, which knows the format, on a private socket, and spoken to over NBD.

mod server;

use super::file::{check_room, room_of};
use super::nbd::{NbdSource, NbdTarget};
use super::{Announced, Source, Target};
use crate::error::{Error, Result};
use async_trait::async_trait;
use server::Server;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Qcow2Source {
    path: PathBuf,
    nbd: NbdSource,
    stamp: Vec<i64>,
    /// Lives as long as it is read.
    _server: Server,
}

impl Qcow2Source {
    pub async fn open(path: &Path) -> Result<Qcow2Source> {
        let stamp = stamp_of(path)?;
        let server = Server::start(path, server::Access::Read).await?;
        let nbd = NbdSource::connect(server.address()).await?;
        Ok(Qcow2Source { path: path.to_owned(), nbd, stamp, _server: server })
    }
}

#[async_trait]
impl Source for Qcow2Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn size(&self) -> u64 {
        self.nbd.size()
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        self.nbd.next_data(from).await
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.nbd.read(offset, buffer).await
    }

    async fn check_unchanged(&self) -> Result<()> {
        if stamp_of(&self.path)? == self.stamp {
            return Ok(());
        }
        let why = "its modification time is not what it was at the start".to_owned();
        Err(Error::SourceChanged { what: self.name(), why })
    }

    fn sees_writes(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct Qcow2Target {
    path: PathBuf,
    nbd: NbdTarget,
    server: tokio::sync::Mutex<Option<Server>>,
    size: u64,
    identity: Option<u64>,
}

impl Qcow2Target {
    pub async fn open(path: &Path, announced: Announced) -> Result<Qcow2Target> {
        check_room(path, announced)?;
        if !path.exists() {
            server::create(path, announced.size).await?;
        }
        let server = Server::start(path, server::Access::Write).await?;
        let nbd = NbdTarget::connect(server.address(), announced).await.map_err(|error| match error {
            // Name the image, not the socket it is served on.
            Error::TargetTooSmall { have, need, .. } => {
                Error::TargetTooSmall { what: path.display().to_string(), have, need }
            }
            error => error,
        })?;
        let identity = path.metadata().ok().map(|meta| meta.ino() ^ meta.dev().rotate_left(32));
        Ok(Qcow2Target {
            path: path.to_owned(),
            nbd,
            server: tokio::sync::Mutex::new(Some(server)),
            size: announced.size,
            identity,
        })
    }
}

#[async_trait]
impl Target for Qcow2Target {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn began_as_zeros(&self) -> bool {
        self.nbd.began_as_zeros()
    }

    fn room(&self) -> Option<u64> {
        room_of(&self.path).map(|room| room.free + room.taken)
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        Target::read(&self.nbd, offset, buffer).await
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.nbd.write(offset, bytes).await
    }

    async fn zero(&self, range: Range<u64>) -> Result<()> {
        self.nbd.zero(range).await
    }

    async fn flush(&self) -> Result<()> {
        self.nbd.flush().await
    }

    fn identity(&self) -> Option<u64> {
        self.identity
    }

    async fn stamp(&self) -> Result<Option<u64>> {
        let mut hasher = blake3::Hasher::new();
        for part in stamp_of(&self.path)? {
            hasher.update(&part.to_le_bytes());
        }
        let mut stamp = [0; 8];
        hasher.finalize_xof().fill(&mut stamp);
        Ok(Some(u64::from_le_bytes(stamp)))
    }

    async fn reread(&self) -> Result<Box<dyn Source>> {
        let server = self.server.lock().await;
        match &*server {
            Some(server) => Ok(Box::new(NbdSource::connect_first(server.address(), self.size).await?)),
            None => Err(Error::QemuNbd { path: self.path.clone(), why: "it has ended".into() }),
        }
    }

    async fn close(&self) -> Result<()> {
        self.nbd.close().await?;
        // The image is whole, and its stamp final, once qemu-nbd has gone.
        match self.server.lock().await.take() {
            Some(server) => server.end().await,
            None => Ok(()),
        }
    }
}

fn stamp_of(path: &Path) -> Result<Vec<i64>> {
    let meta = path.metadata().map_err(|error| Error::io("open", path.display(), error))?;
    Ok(vec![meta.dev() as i64, meta.ino() as i64, meta.size() as i64, meta.mtime(), meta.mtime_nsec()])
}
