//! Calls of sources and targets may block; a task that has to speak up now and then makes them here.

use crate::error::{Error, Result};

/// Runs `work` on a thread that may be blocked. It runs to its end even when nobody waits for it any more.
pub(crate) async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let runtime = tokio::runtime::Handle::current();
    match tokio::task::spawn_blocking(move || runtime.block_on(work)).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::io("run", "a worker", error.into())),
    }
}
