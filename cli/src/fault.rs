//! How a command fails: what happened, what to do about it, and the exit code that scripts see.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use fluidcloud_proto::failure::{Code, Failure};

/// Exit codes, as the README lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Failed, or rolled back.
    Failed = 1,
    /// The command line, the configuration or the request is wrong.
    Usage = 2,
    /// A person must act.
    Stuck = 3,
    Canceled = 4,
    /// Nobody answers, or not in time.
    Unreachable = 5,
    /// Whoever read our output has gone: 128 + SIGPIPE, as other programs end then.
    BrokenPipe = 141,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    /// Empty when `what` says it already.
    pub remedy: String,
    pub exit: Exit,
}

impl Fault {
    pub fn new(exit: Exit, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into(), exit }
    }

    pub fn failed(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what, remedy)
    }

    pub fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, remedy)
    }

    pub fn unreachable(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, what, remedy)
    }

    /// An error whose text ends with its remedy, as those of our libraries do, and its causes after it.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let mut what = error.to_string();
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        if !causes.is_empty() {
            what.push_str(&format!(" (cause: {})", causes.join(": ")));
        }
        Self::new(exit, what, "")
    }

    /// The exit code without a word: everything was said already.
    pub fn quiet(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    /// Says it in one line and ends with the code.
    pub fn tell(&self) -> ExitCode {
        if !self.what.is_empty() {
            // When nobody reads standard error either, the exit code must do.
            let _ = writeln!(std::io::stderr(), "error: {self}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(&self.what))?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", one_line(&self.remedy))?;
        }
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::new(exit_of(failure.code), failure.message, failure.remedy)
    }
}

impl From<fluidcloud_providers::Error> for Fault {
    fn from(error: fluidcloud_providers::Error) -> Self {
        Self::from_error(exit_of(error.code()), &error)
    }
}

impl From<fluidcloud_proto::bus::Error> for Fault {
    fn from(error: fluidcloud_proto::bus::Error) -> Self {
        let exit = if error.retryable() { Exit::Unreachable } else { Exit::Failed };
        Self::from_error(exit, &error)
    }
}

impl From<fluidcloud_broker::Error> for Fault {
    fn from(error: fluidcloud_broker::Error) -> Self {
        let exit = match &error {
            fluidcloud_broker::Error::NotLoopback(_)
            | fluidcloud_broker::Error::NotEncrypted(_)
            | fluidcloud_broker::Error::Certificate { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::from_error(exit, &error)
    }
}

impl From<fluidcloud_conduit::Error> for Fault {
    fn from(error: fluidcloud_conduit::Error) -> Self {
        Self::from_error(Exit::Failed, &error)
    }
}

fn exit_of(code: Code) -> Exit {
    match code {
        Code::InvalidRequest
        | Code::UnsupportedVersion
        | Code::ConflictingRequest
        | Code::UnknownProvider
        | Code::UnknownInstance
        | Code::UnknownDisk
        | Code::UnknownRelocation
        | Code::InvalidPattern => Exit::Usage,
        Code::Unreachable | Code::TimedOut => Exit::Unreachable,
        Code::Canceled => Exit::Canceled,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_in_one_line_with_its_remedy() {
        let fault = Fault::usage("line 3:\n  not a map\n", "mend it");
        assert_eq!(fault.to_string(), "line 3: not a map; mend it");
    }

    #[test]
    fn causes_come_after_the_text_of_an_error() {
        let cause = std::io::Error::other("connection refused");
        let error =
            fluidcloud_proto::bus::Error::Unreachable { url: "amqp://host".into(), cause: cause.into() };
        let fault = Fault::from(error);
        assert_eq!(fault.exit, Exit::Unreachable);
        assert!(fault.what.ends_with("the url is right (cause: connection refused)"), "{}", fault.what);
    }
}
