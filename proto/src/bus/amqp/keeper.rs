//! Keeps one link up: connects, makes the standing queues, waits for the link to fail, connects again. The only
//! writer of the current link and of whether the bus is connected.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::declare;
use super::link::Link;
use super::options::AmqpOptions;
use crate::bus::Error;

/// The current link; `None` during an outage.
pub(super) type Links = watch::Receiver<Option<Arc<Link>>>;

/// One attempt to connect may take this long, however little patience there is.
const ATTEMPT_MIN: Duration = Duration::from_secs(2);

/// Tries until the options' patience ends. A refusal ends it at once: it would be the same the next time. An attempt
/// that has begun is not cut short by the end of patience, as its own error says more.
pub(super) async fn connect_first(options: &AmqpOptions) -> Result<Arc<Link>, Error> {
    let deadline = Instant::now() + options.patience;
    let never = CancellationToken::new();
    let mut backoff = Backoff::new();
    loop {
        match tokio::time::timeout(options.patience.max(ATTEMPT_MIN), connect(options)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) if !error.retryable() || Instant::now() >= deadline => return Err(error),
            Ok(Err(_)) => {}
            Err(_) => return Err(unanswered(options)),
        }
        let _ = backoff.wait(&never).await;
    }
}

fn unanswered(options: &AmqpOptions) -> Error {
    let cause = format!("no answer within {:.1} s", options.patience.max(ATTEMPT_MIN).as_secs_f64());
    Error::Unreachable { url: options.display_url(), cause: cause.into() }
}

async fn connect(options: &AmqpOptions) -> Result<Arc<Link>, Error> {
    let url = options.display_url();
    let link = Link::open(options).await.map_err(|trouble| {
        let what =
            format!("let user `{}` in at {url}: check user, password and virtual host", options.user());
        trouble.into_error(&url, what)
    })?;
    declare::standing(&link, &url).await?;
    Ok(Arc::new(link))
}

/// Runs for as long as the bus is open.
pub(super) async fn keep(
    options: AmqpOptions,
    first: Arc<Link>,
    links: watch::Sender<Option<Arc<Link>>>,
    connected: watch::Sender<bool>,
    closed: CancellationToken,
) {
    let url = options.display_url();
    let mut link = first;
    loop {
        tokio::select! {
            () = link.lost() => {}
            () = closed.cancelled() => {
                links.send_replace(None);
                connected.send_replace(false);
                link.close().await;
                return;
            }
        }
        links.send_replace(None);
        connected.send_replace(false);
        tracing::warn!(%url, "the bus is gone; messages wait until it is back");
        let since = Instant::now();
        link = match reconnect(&options, &closed).await {
            Some(link) => link,
            None => return,
        };
        tracing::info!(%url, seconds = since.elapsed().as_secs_f64(), "the bus is back");
        links.send_replace(Some(link.clone()));
        connected.send_replace(true);
    }
}

/// `None` when the bus is closed.
async fn reconnect(options: &AmqpOptions, closed: &CancellationToken) -> Option<Arc<Link>> {
    let mut backoff = Backoff::new();
    let mut last = String::new();
    loop {
        let attempt = tokio::select! {
            attempt = connect(options) => attempt,
            () = closed.cancelled() => return None,
        };
        match attempt {
            Ok(link) => return Some(link),
            Err(error) => {
                // The same reason once, not every three seconds for a night.
                let reason = error.to_string();
                if reason != last {
                    let cause =
                        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(%error, cause, "could not reconnect; trying on");
                    last = reason;
                }
            }
        }
        backoff.wait(closed).await.ok()?;
    }
}
