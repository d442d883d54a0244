//! Listens for the answer to one request on the event stream: that the relocation moves, or that the request was
//! refused. Best effort; whoever follows asks for the status all the same.

use std::time::Duration;

use fluidcloud_proto::event::Notice;
use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::RelocationId;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::api::{Api, Events};

/// Before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    Changed,
    Refused(Failure),
}

#[derive(Debug)]
pub struct Listener {
    heard: watch::Receiver<Heard>,
    _task: AbortOnDropHandle<()>,
}

impl Listener {
    /// Listens from the moment this returns, if the API answers by then.
    pub async fn start(api: &Api, id: RelocationId) -> Self {
        let (say, heard) = watch::channel(Heard::Nothing);
        let first = api.events(true, false).await.ok();
        let task = tokio::spawn(listen(api.clone(), id, first, say));
        Self { heard, _task: AbortOnDropHandle::new(task) }
    }

    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Returns only when the request was refused. Cancel-safe.
    pub async fn refused(&mut self) -> Failure {
        match self.heard.wait_for(|heard| matches!(heard, Heard::Refused(_))).await.map(|heard| heard.clone())
        {
            Ok(Heard::Refused(failure)) => failure,
            // The listener has ended: nothing will be heard.
            _ => std::future::pending().await,
        }
    }
}

async fn listen(api: Api, id: RelocationId, first: Option<Events>, say: watch::Sender<Heard>) {
    let mut stream = first;
    loop {
        if let Some(events) = &mut stream {
            while let Some(notice) = events.next().await {
                match notice {
                    Notice::RelocationChanged { status } if status.id == id => {
                        say.send_replace(Heard::Changed);
                    }
                    Notice::RequestRefused { id: Some(refused), failure } if refused == id => {
                        say.send_replace(Heard::Refused(failure));
                        return;
                    }
                    _ => {}
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        stream = api.events(true, false).await.ok();
    }
}
