//! Why the broker did not do what it was asked, and whether the next connection may do it.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::bus::Error;

/// How long the broker may take to answer one thing; longer is a channel or connection gone silent.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection or channel went: the next one may do it.
    Lost(lapin::Error),
    /// Nothing came back within [`ANSWER_MAX`].
    Silent,
    /// The broker said no, and would again.
    Refused(lapin::Error),
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", ANSWER_MAX.as_secs())]
struct NoAnswer;

impl Trouble {
    /// For the caller of the bus, when it is not tried again. `what` completes "the bus refused to".
    pub fn into_error(self, url: &str, what: String) -> Error {
        match self {
            Self::Lost(error) => Error::Unreachable { url: url.to_owned(), cause: Box::new(error) },
            Self::Silent => Error::Unreachable { url: url.to_owned(), cause: Box::new(NoAnswer) },
            Self::Refused(error) => Error::Refused { what, cause: Box::new(error) },
        }
    }

    pub fn is_precondition(&self) -> bool {
        matches!(self, Self::Refused(error) if soft(error) == Some(AMQPSoftError::PRECONDITIONFAILED))
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Lost(error) if soft(error) == Some(AMQPSoftError::NOTFOUND))
    }
}

impl From<lapin::Error> for Trouble {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(protocol) => match protocol.kind() {
                AMQPErrorKind::Soft(
                    AMQPSoftError::ACCESSREFUSED
                    | AMQPSoftError::PRECONDITIONFAILED
                    | AMQPSoftError::RESOURCELOCKED,
                )
                | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::NOTIMPLEMENTED) => {
                    Self::Refused(error)
                }
                _ => Self::Lost(error),
            },
            _ => Self::Lost(error),
        }
    }
}

fn soft(error: &lapin::Error) -> Option<AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(protocol) => match protocol.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// One question to the broker, with its bound.
pub(super) async fn ask<T>(question: impl Future<Output = lapin::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(ANSWER_MAX, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Silent),
    }
}
