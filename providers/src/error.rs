//! What can go wrong at a provider. Every error knows whether the same call may succeed later, and what a person can
//! do about it.

use fluidcloud_proto::failure::{Code, Failure};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Shown as `what: remedy`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("provider `{0}` is not configured: {remedy}", remedy = self.remedy())]
    UnknownProvider(String),
    #[error("provider `{provider}` has no instance `{instance}`: {remedy}", remedy = self.remedy())]
    UnknownInstance { provider: String, instance: String },
    /// `what` says of which kind and name: ``volume `data` ``.
    #[error("provider `{provider}` has no {what}: {remedy}", remedy = self.remedy())]
    NotThere { provider: String, what: String, code: Code },
    #[error("this work was fenced: epoch {newer} of it is at provider `{provider}` already: {remedy}", remedy = self.remedy())]
    Fenced { provider: String, newer: u64 },
    #[error(
        "`{name}` exists already at provider `{provider}` and was not made by this relocation: {remedy}",
        remedy = self.remedy()
    )]
    NameTaken { provider: String, name: String },
    #[error(
        "provider `{provider}` has room for {free} of the {needed} bytes needed in {place}: {remedy}",
        remedy = self.remedy()
    )]
    NoRoom { provider: String, place: String, needed: u64, free: u64 },
    #[error(
        "provider `{provider}` lets the project have {free} more {what}, and {needed} are needed: {remedy}",
        remedy = self.remedy()
    )]
    Quota { provider: String, what: String, needed: u64, free: u64 },
    #[error("{known_hosts} has no such host key for {host}: {remedy}", remedy = self.remedy())]
    HostKey { host: String, known_hosts: String },
    #[error("{host} does not accept the key {key} for {user}: {remedy}", remedy = self.remedy())]
    Unauthorized { host: String, user: String, key: String },
    #[error("{what} does not answer: {remedy}", remedy = self.remedy())]
    Unreachable {
        what: String,
        #[source]
        cause: Cause,
    },
    #[error("`{command}` at {host} ended with {status} ({stderr}): {remedy}", remedy = self.remedy())]
    CommandFailed { host: String, command: String, status: String, stderr: String },
    #[error("{what} took longer than {secs} s: {remedy}", remedy = self.remedy())]
    TimedOut { what: String, secs: u64 },
    #[error("provider `{provider}` cannot {what}: {remedy}")]
    Unsupported { provider: String, what: String, remedy: String },
    #[error("provider `{provider}` failed to {what}: {remedy}", remedy = self.remedy())]
    Driver {
        provider: String,
        what: String,
        #[source]
        cause: Cause,
    },
    /// A cloud's API said no, with the status and its own words.
    #[error("provider `{provider}` refused to {what} ({status}: {message}): {remedy}")]
    Refused {
        provider: String,
        what: String,
        status: u16,
        message: String,
        remedy: String,
        /// A quota is used up, or nothing has the room.
        full: bool,
        retryable: bool,
    },
    /// `what` says what is wrong and what to write instead.
    #[error("configuration of provider `{provider}`: {what}: {remedy}", remedy = self.remedy())]
    Config { provider: String, what: String },
}

impl Error {
    pub fn retryable(&self) -> bool {
        if let Self::Refused { retryable, .. } = self {
            return *retryable;
        }
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Driver { .. }
                | Self::CommandFailed { .. }
        )
    }

    pub fn code(&self) -> Code {
        match self {
            Self::UnknownProvider(_) => Code::UnknownProvider,
            Self::UnknownInstance { .. } => Code::UnknownInstance,
            Self::NotThere { code, .. } => *code,
            Self::Fenced { .. } => Code::Fenced,
            Self::NameTaken { .. } => Code::NameTaken,
            Self::NoRoom { .. } | Self::Quota { .. } | Self::Refused { full: true, .. } => Code::NoRoom,
            Self::HostKey { .. } => Code::HostKey,
            Self::Unauthorized { .. } | Self::Refused { status: 401 | 403, .. } => Code::Unauthorized,
            Self::Unreachable { .. } => Code::Unreachable,
            Self::TimedOut { .. } => Code::TimedOut,
            Self::CommandFailed { .. }
            | Self::Unsupported { .. }
            | Self::Driver { .. }
            | Self::Refused { .. }
            | Self::Config { .. } => Code::Provider,
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownProvider(_) => {
                "add it under `providers`, or use one that `fluidcloud providers` lists".to_owned()
            }
            Self::UnknownInstance { provider, .. } => format!("see `fluidcloud inspect {provider}`"),
            Self::NotThere { .. } => "correct its name, or give its id".to_owned(),
            Self::Fenced { .. } => "nothing: the newer attempt goes on".to_owned(),
            Self::NameTaken { .. } => {
                "choose another name (an instance has its `target_name`), or remove it".to_owned()
            }
            Self::NoRoom { .. } => "free some, or choose another target".to_owned(),
            Self::Quota { .. } => {
                "remove what the project does not need, ask for a larger quota, or choose another target"
                    .to_owned()
            }
            Self::HostKey { .. } => {
                "add the host's line there if it is new or was rebuilt; if not, somebody is in between"
                    .to_owned()
            }
            Self::Unauthorized { .. } => "add the key's public half to the host's authorized_keys".to_owned(),
            Self::Unreachable { .. } => "check the network and that the service runs".to_owned(),
            Self::CommandFailed { host, .. } => format!("put right what it says, at {host}"),
            Self::TimedOut { .. } | Self::Driver { .. } => "see the provider's own log".to_owned(),
            Self::Unsupported { remedy, .. } | Self::Refused { remedy, .. } => remedy.clone(),
            Self::Config { provider, .. } => format!("correct the entry of `{provider}` under `providers`"),
        }
    }

    /// For the bus: the chain of causes in one line, the remedy apart.
    pub fn to_failure(&self) -> Failure {
        let (told, remedy) = (self.to_string(), self.remedy());
        let what = told.strip_suffix(&remedy).and_then(|what| what.strip_suffix(": "));
        let mut message = what.unwrap_or(&told).to_owned();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        let make = if self.retryable() { Failure::later } else { Failure::never };
        make(self.code(), message, remedy)
    }
}

#[cfg(test)]
mod tests {
    use fluidcloud_proto::failure::Retry;

    use super::*;

    #[test]
    fn the_remedy_is_apart_and_the_causes_are_in_the_message() {
        let error = Error::Unreachable { what: "ssh at a:22".into(), cause: "timed out: really".into() };
        let failure = error.to_failure();
        assert_eq!(failure.message, "ssh at a:22 does not answer: timed out: really");
        assert_eq!(failure.remedy, "check the network and that the service runs");
        assert_eq!(failure.retry, Retry::Later);
    }

    #[test]
    fn colons_in_what_happened_do_not_cut_the_message() {
        let (host, stderr) = ("root@a".to_owned(), "qemu-img: /x: no space left".to_owned());
        let error =
            Error::CommandFailed { host, command: "qemu-img".into(), status: "status 1".into(), stderr };
        let failure = error.to_failure();
        assert_eq!(failure.message, "`qemu-img` at root@a ended with status 1 (qemu-img: /x: no space left)");
        assert_eq!(failure.remedy, "put right what it says, at root@a");
    }

    #[test]
    fn a_wrong_configuration_is_not_tried_again() {
        let error = Error::Config { provider: "a".into(), what: "`uri` is missing: give libvirt's".into() };
        let failure = error.to_failure();
        assert_eq!(failure.retry, Retry::Never);
        assert_eq!(failure.message, "configuration of provider `a`: `uri` is missing: give libvirt's");
    }
}
