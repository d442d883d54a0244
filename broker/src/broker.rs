//! The broker as a whole: its loops, each with one task, and their common end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluidcloud_proto::bus::{self, Queue, SharedBus, publish_command};
use fluidcloud_proto::command::{BrokerCommand, Control};
use fluidcloud_proto::event::{Event, Notice};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::offer::Need;
use fluidcloud_providers::{ProviderConfig, Registry};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::audit::Audit;
use crate::error::Error;
use crate::feed::Feed;
use crate::http::{self, HttpOptions};
use crate::keys::KeyDesk;
use crate::placement::Placement;
use crate::queues::Queues;
use crate::selection;
use crate::staffing::Staffing;
use crate::survey::Survey;
use crate::view::View;

/// Commands answered at the same time; others wait in the queue.
pub const COMMANDS_AT_ONCE: u16 = 16;
/// Between two looks at which workers are missing.
pub const STAFF_EVERY: Duration = Duration::from_secs(2);
/// How long open HTTP requests may take to end at shutdown.
pub const HTTP_END_WITHIN: Duration = Duration::from_secs(3);
/// Before a lost watch of the bus is taken up again.
pub const WATCH_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub struct BrokerOptions {
    pub bus: SharedBus,
    pub registry: Registry,
    /// In the order of the configuration, which is the order of preference.
    pub providers: Vec<ProviderConfig>,
    pub http: HttpOptions,
    pub access: Access,
    /// Where mutating calls are written down; nowhere when left out.
    pub audit: Option<PathBuf>,
    pub placement: Arc<dyn Placement>,
    /// Who hands out the keys that the conduit created.
    pub keys: Arc<dyn KeyDesk>,
}

/// A broker that listens and does not work yet.
#[derive(Debug)]
pub struct Broker {
    parts: Arc<Parts>,
    listening: http::Listening,
}

/// What the loops share. The locks are held for the length of a look or a note, never across an await.
#[derive(Debug)]
pub(crate) struct Parts {
    pub bus: SharedBus,
    pub view: Mutex<View>,
    pub feed: Feed,
    pub survey: Arc<Survey>,
    pub queues: Arc<Queues>,
    pub staffing: Mutex<Staffing>,
    pub placement: Arc<dyn Placement>,
    pub keys: Arc<dyn KeyDesk>,
    pub access: Access,
    pub audit: Option<Arc<Audit>>,
}

impl Parts {
    pub fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn staffing(&self) -> std::sync::MutexGuard<'_, Staffing> {
        self.staffing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// Takes the HTTP address, so that what is wrong with it is known before anything runs.
    pub async fn new(options: BrokerOptions) -> Result<Self, Error> {
        let listening = http::listen(&options.http, &options.access).await?;
        let audit = options
            .audit
            .map(|path| Audit::open(&path).map(Arc::new).map_err(|cause| Error::Audit { path, cause }));
        let survey = Arc::new(Survey::new(&options.registry, &options.providers));
        let queues = Arc::new(Queues::new(options.bus.clone(), survey.ids()));
        let parts = Parts {
            bus: options.bus,
            view: Mutex::default(),
            feed: Feed::new(),
            survey,
            queues,
            staffing: Mutex::default(),
            placement: options.placement,
            keys: options.keys,
            access: options.access,
            audit: audit.transpose()?,
        };
        Ok(Self { parts: Arc::new(parts), listening })
    }

    /// Where the API listens, which a port of 0 leaves open.
    pub fn http(&self) -> std::io::Result<SocketAddr> {
        self.listening.local_addr()
    }

    /// Works until `shutdown`, then retires every worker it placed.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { parts, listening } = self;
        let end = shutdown.child_token();
        let mut loops = JoinSet::new();
        loops.spawn(named("the survey of providers", parts.survey.clone().run(end.clone())));
        loops.spawn(named("the look at the queues", parts.queues.clone().run(end.clone())));
        loops.spawn(named("the HTTP API", http::serve(listening, parts.clone(), end.clone())));
        loops.spawn(named("the watch of notices", watch_notices(parts.clone(), end.clone())));
        loops.spawn(named("the staffing", staff(parts.clone(), end.clone())));
        let commands = take_commands(parts.clone(), end.clone());
        tokio::pin!(commands);
        let ended = tokio::select! {
            ended = &mut commands => ended,
            early = loops.join_next() => Err(ended_early(early, &shutdown)),
            () = shutdown.cancelled() => Ok(()),
        };
        end.cancel();
        parts.placement.drain().await;
        let quiet = async { while loops.join_next().await.is_some() {} };
        if tokio::time::timeout(HTTP_END_WITHIN, quiet).await.is_err() {
            tracing::debug!("open requests are cut off");
        }
        if shutdown.is_cancelled() { Ok(()) } else { ended }
    }
}

async fn named(part: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    part
}

fn ended_early(
    ended: Option<Result<&'static str, tokio::task::JoinError>>,
    shutdown: &CancellationToken,
) -> Error {
    let part = match ended {
        Some(Ok(part)) => part,
        Some(Err(panic)) => {
            tracing::error!(error = %panic, "a loop of the broker panicked");
            "a loop"
        }
        None => "everything",
    };
    if !shutdown.is_cancelled() {
        tracing::error!(part, "ended by itself");
    }
    Error::Ended { part }
}

/// Keeps the view and the feed up to date, and asks for a report whenever something may have been missed.
async fn watch_notices(parts: Arc<Parts>, shutdown: CancellationToken) {
    let watching = async {
        loop {
            if let Err(error) = watch_once(&parts).await {
                tracing::warn!(%error, "cannot watch the bus; trying again");
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = shutdown.cancelled() => {}
    }
}

async fn watch_once(parts: &Parts) -> Result<(), bus::Error> {
    let mut notices = parts.bus.watch().await?;
    let mut connected = parts.bus.connected();
    publish_command(&*parts.bus, &Queue::Control, &Control::Report).await?;
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(message) => take_notice(parts, &message.body),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "notices were missed; asking for a report");
                    publish_command(&*parts.bus, &Queue::Control, &Control::Report).await?;
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(()),
            },
            changed = connected.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                if *connected.borrow_and_update() {
                    publish_command(&*parts.bus, &Queue::Control, &Control::Report).await?;
                }
            }
        }
    }
}

fn take_notice(parts: &Parts, body: &[u8]) {
    match serde_json::from_slice::<Notice>(body) {
        Ok(notice) => {
            // Whoever hears of it on the feed finds it in the status.
            parts.view().apply(notice.clone(), Instant::now());
            parts.feed.push(&notice);
        }
        Err(error) => tracing::debug!(%error, "a notice is not understood; a part of another version runs"),
    }
}

/// Answers commands, several at once: a provider that is slow to answer holds up only its own.
async fn take_commands(parts: Arc<Parts>, shutdown: CancellationToken) -> Result<(), Error> {
    let mut subscription = parts.bus.subscribe(&Queue::Broker, COMMANDS_AT_ONCE).await?;
    let mut at_work = JoinSet::new();
    loop {
        tokio::select! {
            received = bus::receive::<BrokerCommand>(&mut subscription) => {
                let Some(received) = received else { return Err(bus::Error::Closed.into()) };
                let parts = parts.clone();
                at_work.spawn(async move {
                    if let Err(error) = obey(&parts, received.body).await {
                        tracing::warn!(%error, "command is put back");
                        return received.delivery.retry().await;
                    }
                    received.delivery.ack().await
                });
            }
            Some(settled) = at_work.join_next() => {
                if let Ok(Err(error)) = settled {
                    tracing::debug!(%error, "command could not be settled; it comes again");
                }
            }
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn obey(parts: &Parts, command: BrokerCommand) -> Result<(), bus::Error> {
    match command {
        BrokerCommand::MakeOffers { relocation, need } => make_offers(parts, relocation, &need).await,
        BrokerCommand::PlaceWorkers { relocation, workers } => {
            let known: std::collections::BTreeSet<_> = parts.survey.ids().cloned().collect();
            let (placeable, others): (Vec<_>, Vec<_>) =
                workers.into_iter().partition(|need| known.contains(&need.site));
            for need in others {
                tracing::warn!(%relocation, site = %need.site, "a worker is asked for at a site that is not configured here");
            }
            parts.staffing().ask(relocation, placeable);
            place_missing(parts).await;
            Ok(())
        }
    }
}

async fn make_offers(parts: &Parts, relocation: RelocationId, need: &Need) -> Result<(), bus::Error> {
    let facts = parts.survey.facts_now(need.fixed.as_ref()).await;
    let offers = selection::offers(need, &facts);
    let fitting = offers.iter().filter(|offer| offer.fits).count();
    tracing::info!(%relocation, asked = offers.len(), fitting, "offers made");
    parts.view().offered(relocation, offers.clone());
    publish_command(&*parts.bus, &Queue::Events, &Event::OffersMade { relocation, offers }).await
}

async fn staff(parts: Arc<Parts>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(STAFF_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => place_missing(&parts).await,
            () = shutdown.cancelled() => return,
        }
    }
}

async fn place_missing(parts: &Parts) {
    let waiting = parts.queues.waiting_for_workers();
    let orders = {
        let view = parts.view();
        let now = Instant::now();
        parts.staffing().orders(&view.served(now), &waiting, |relocation| view.is_over(relocation), now)
    };
    for need in &orders.place {
        if let Err(error) = parts.placement.place(need).await {
            tracing::error!(kind = %need.kind, site = %need.site, %error, "worker cannot be started; trying again");
        }
    }
    for need in &orders.retire {
        parts.placement.retire(need).await;
    }
}
