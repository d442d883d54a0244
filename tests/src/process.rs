//! Processes that a test starts.

use std::ffi::OsStr;
use std::process::Command;

/// A command that is killed when the test that started it is gone, however that came. The kernel watches the thread
/// that starts it, so that must be one that lasts as long as the test.
pub fn dies_with_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}
