//! Streams within one process, for tests. Whoever holds the connector may break streams or tamper with their bytes.

use super::{Accepted, Connector, Listener, Stream};
use crate::error::{Error, Result};
use async_trait::async_trait;
use tokio::sync::mpsc;

const PIPE_BYTES: usize = 256 << 10;

pub fn memory() -> (MemoryConnector, MemoryListener) {
    let (sender, receiver) = mpsc::channel(64);
    (MemoryConnector { sender }, MemoryListener { receiver })
}

#[derive(Clone, Debug)]
pub struct MemoryConnector {
    sender: mpsc::Sender<tokio::io::DuplexStream>,
}

#[derive(Debug)]
pub struct MemoryListener {
    receiver: mpsc::Receiver<tokio::io::DuplexStream>,
}

#[async_trait]
impl Connector for MemoryConnector {
    fn whom(&self) -> String {
        "the receiver".into()
    }

    async fn connect(&self, _join: Option<&str>) -> Result<Stream> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        self.sender.send(theirs).await.map_err(|_| Error::Unreachable {
            whom: self.whom(),
            source: std::io::ErrorKind::ConnectionRefused.into(),
        })?;
        Ok(Box::new(ours))
    }
}

#[async_trait]
impl Listener for MemoryListener {
    fn address(&self) -> String {
        "memory".into()
    }

    async fn accept(&mut self) -> Accepted {
        match self.receiver.recv().await {
            Some(stream) => Accepted::Stream { stream: Box::new(stream), whom: "the sender".into() },
            None => Accepted::Closed,
        }
    }
}
