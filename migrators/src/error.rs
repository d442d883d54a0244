//! What can go wrong in a migrator. Each part has its own error; here they meet and, only here, become the
//! [`Failure`] that travels over the bus.

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::plan::MigratorKind;

use crate::{binary, guest, image, object, rewrite, volume};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Provider(#[from] fluidcloud_providers::Error),
    #[error(transparent)]
    Binary(#[from] binary::Error),
    #[error(transparent)]
    Guest(#[from] guest::Error),
    #[error(transparent)]
    Sync(#[from] image::sync::Error),
    #[error(transparent)]
    Adapt(#[from] image::adapt::Error),
    #[error(transparent)]
    Fold(#[from] volume::fold::Error),
    #[error(transparent)]
    Rewrite(#[from] rewrite::Error),
    #[error(transparent)]
    Object(#[from] object::Error),
    #[error("a migrator of kind `{kind}` was given `{work}`")]
    WrongWork { kind: MigratorKind, work: &'static str },
    #[error("this worker has no migrator of kind `{0}`")]
    NoMigrator(MigratorKind),
    #[error("provider `{provider}` has no site where a migrator could work")]
    NoSite { provider: String },
    #[error("this work was fenced: epoch {newer} of it is there already")]
    Fenced { newer: u64 },
    #[error("the work was told to stop")]
    Canceled,
    #[error("no contact with the bus for {secs} s, so the lease is lost")]
    LeaseLost { secs: u64 },
    #[error("the lease was granted too late: the task had been given back")]
    GivenBack,
    #[error("the worker was told to shut down and gives the task back")]
    Draining,
    #[error("a migrator panicked: {0}")]
    Panicked(String),
}

impl Error {
    pub fn retryable(&self) -> bool {
        self.to_failure().retryable()
    }

    /// For the bus: what happened with its causes in one line, and what to do.
    pub fn to_failure(&self) -> Failure {
        match self {
            Self::Provider(error) => error.to_failure(),
            Self::Binary(error) => error.to_failure(),
            Self::Guest(error) => error.to_failure(),
            Self::Sync(error) => error.to_failure(),
            Self::Adapt(error) => error.to_failure(),
            Self::Fold(error) => error.to_failure(),
            Self::Rewrite(error) => error.to_failure(),
            Self::Object(error) => error.to_failure(),
            Self::WrongWork { .. } | Self::Panicked(_) => {
                Failure::never(Code::Internal, self.to_string(), "report it with the log of the worker")
            }
            Self::NoMigrator(kind) => Failure::later(
                Code::Internal,
                self.to_string(),
                format!("start a worker of it: `fluidcloud migrator {kind}`"),
            ),
            Self::NoSite { .. } => {
                Failure::never(Code::Provider, self.to_string(), "add `site` to the provider's configuration")
            }
            Self::Fenced { .. } => {
                Failure::never(Code::Fenced, self.to_string(), "nothing: the newer attempt goes on")
            }
            Self::Canceled => Failure::never(Code::Canceled, self.to_string(), "nothing: it was asked for"),
            Self::LeaseLost { .. } => Failure::later(
                Code::LeaseLost,
                self.to_string(),
                "nothing, it is tried again; if it happens often, check the network between worker and bus",
            ),
            // Nothing has gone wrong, so this is no attempt that failed.
            Self::GivenBack | Self::Draining => {
                Failure::later(Code::HandedBack, self.to_string(), "nothing: another worker takes the task")
            }
        }
    }
}

/// The text of an error with its causes, for the one place where it is told.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // A transparent wrapper says the same again.
        if !told.ends_with(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = error.source();
    }
    told
}
