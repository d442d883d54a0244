//! The one way to libvirt: its calls block, so they run one after the other on a thread of their own. Calls are
//! queued, bounded in number and time, and a dead connection is opened anew.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fluidcloud_proto::ids::ProviderId;
use tokio::sync::{mpsc, oneshot};
use virt::connect::Connect;
use virt::enumutil::Enum;
use virt::error::{Error as VirtError, ErrorDomain, ErrorNumber};

use crate::error::Error;

/// Calls waiting for the thread.
const CALLS_MAX: usize = 64;
/// Longest time for one call, the wait for its turn included.
const CALL: Duration = Duration::from_secs(120);
/// A peer that does not answer this many keepalives, sent so often, is gone.
const KEEPALIVE_SECS: i32 = 5;
const KEEPALIVES_MISSED: u32 = 4;

type Call = Box<dyn FnOnce(&mut Link) + Send>;

#[derive(Clone, Debug)]
pub(super) struct Connection {
    provider: ProviderId,
    uri: Arc<str>,
    thread: Arc<Mutex<Option<mpsc::Sender<Call>>>>,
}

/// What the thread holds.
struct Link {
    uri: Arc<str>,
    open: Option<Connect>,
}

enum Trouble {
    Unreachable(VirtError),
    Refused(VirtError),
}

impl Connection {
    /// Connects when first used.
    pub fn new(provider: ProviderId, uri: &str) -> Self {
        Self { provider, uri: uri.into(), thread: Arc::default() }
    }

    /// Runs `work` on the thread; once more when the connection breaks under it, so it must be idempotent. `what`
    /// is for messages: "failed to `what`".
    pub async fn call<T: Send + 'static>(
        &self,
        what: impl Into<String>,
        work: impl Fn(&Connect) -> Result<T, VirtError> + Send + 'static,
    ) -> Result<T, Error> {
        let what = what.into();
        let (tell, told) = oneshot::channel();
        let call: Call = Box::new(move |link| {
            if !tell.is_closed() {
                drop(tell.send(link.call(&work)));
            }
        });
        let thread = self.thread()?;
        let answered = async {
            thread.send(call).await.map_err(|_| ()).ok()?;
            told.await.ok()
        };
        match tokio::time::timeout(CALL, answered).await {
            Ok(Some(Ok(done))) => Ok(done),
            Ok(Some(Err(Trouble::Refused(cause)))) if is_final(&cause) => Err(Error::Unsupported {
                provider: self.provider.to_string(),
                what: format!("{what} ({})", cause.message()),
                remedy: "change the instance, or the provider's `shape`".to_owned(),
            }),
            Ok(Some(Err(Trouble::Refused(cause)))) => {
                Err(Error::Driver { provider: self.provider.to_string(), what, cause: cause.into() })
            }
            Ok(Some(Err(Trouble::Unreachable(cause)))) => {
                Err(Error::Unreachable { what: self.shown(), cause: cause.into() })
            }
            Ok(None) => {
                self.forget(&thread);
                Err(Error::Unreachable {
                    what: self.shown(),
                    cause: "its thread ended in the middle of a call".into(),
                })
            }
            // It may hang in there for ever: leave it alone and start afresh.
            Err(_) => {
                self.forget(&thread);
                Err(Error::TimedOut { what: format!("{}: {what}", self.shown()), secs: CALL.as_secs() })
            }
        }
    }

    fn shown(&self) -> String {
        format!("libvirt of `{}` at {}", self.provider, self.uri)
    }

    fn thread(&self) -> Result<mpsc::Sender<Call>, Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = thread.as_ref().filter(|running| !running.is_closed()) {
            return Ok(running.clone());
        }
        let (send, mut calls) = mpsc::channel::<Call>(CALLS_MAX);
        let mut link = Link { uri: self.uri.clone(), open: None };
        std::thread::Builder::new()
            .name("libvirt".to_owned())
            .spawn(move || {
                while let Some(call) = calls.blocking_recv() {
                    call(&mut link);
                }
            })
            .map_err(|cause| Error::Unreachable { what: self.shown(), cause: cause.into() })?;
        Ok(thread.insert(send).clone())
    }

    fn forget(&self, stuck: &mpsc::Sender<Call>) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_some_and(|running| running.same_channel(stuck)) {
            *thread = None;
        }
    }
}

impl Link {
    fn call<T>(&mut self, work: impl Fn(&Connect) -> Result<T, VirtError>) -> Result<T, Trouble> {
        let fresh = self.ensure()?;
        match self.attempt(&work) {
            Err(error) if is_lost(&error) && !fresh => {
                self.open = None;
                self.ensure()?;
                self.attempt(&work)
            }
            done => done,
        }
        .map_err(|error| if is_lost(&error) { Trouble::Unreachable(error) } else { Trouble::Refused(error) })
    }

    fn attempt<T>(&mut self, work: impl Fn(&Connect) -> Result<T, VirtError>) -> Result<T, VirtError> {
        match &self.open {
            Some(connect) => work(connect),
            None => Err(VirtError::last_error()),
        }
    }

    /// True when the connection was opened just now.
    fn ensure(&mut self) -> Result<bool, Trouble> {
        if self.open.as_ref().is_some_and(|connect| connect.is_alive().unwrap_or(false)) {
            return Ok(false);
        }
        self.open = None;
        event_loop();
        let connect = Connect::open(Some(&self.uri)).map_err(Trouble::Unreachable)?;
        // Drivers inside this process have none; they cannot get lost either.
        let _ = connect.set_keep_alive(KEEPALIVE_SECS, KEEPALIVES_MISSED);
        self.open = Some(connect);
        Ok(true)
    }
}

/// The same call cannot succeed later either.
fn is_final(error: &VirtError) -> bool {
    let numbers = [
        ErrorNumber::ConfigUnsupported,
        ErrorNumber::XmlError,
        ErrorNumber::XmlDetail,
        ErrorNumber::NoSupport,
    ];
    numbers.into_iter().any(|number| error.code() == Enum::Known(number))
}

fn is_lost(error: &VirtError) -> bool {
    let known = |number| error.code() == Enum::Known(number);
    let from = |domain| error.domain() == Enum::Known(domain);
    known(ErrorNumber::NoConnect)
        || known(ErrorNumber::InvalidConn)
        || (from(ErrorDomain::Rpc) && (known(ErrorNumber::InternalError) || known(ErrorNumber::SystemError)))
        || (from(ErrorDomain::Rpc) && known(ErrorNumber::Rpc))
}

/// Keepalives need libvirt's event loop: one thread for the whole process, for as long as it lives.
fn event_loop() {
    static RUNNING: OnceLock<()> = OnceLock::new();
    RUNNING.get_or_init(|| {
        virt::error::clear_error_callback();
        if let Err(error) = virt::event::event_register_default_impl() {
            tracing::warn!(%error, "no event loop for libvirt: dead connections are noticed late");
            return;
        }
        let turn = || while virt::event::event_run_default_impl().is_ok() {};
        if let Err(error) = std::thread::Builder::new().name("libvirt-events".to_owned()).spawn(turn) {
            tracing::warn!(%error, "no event loop for libvirt: dead connections are noticed late");
        }
    });
}
