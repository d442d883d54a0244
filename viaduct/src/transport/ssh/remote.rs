//! The far host's shell: runs commands, and puts our binary where it is missing. Blocking.

use super::login::Login;
use crate::error::{Error, Result};
use ssh2::Channel;
use std::io::{Read, Write};
use std::path::Path;

/// What a helper command may say.
const ANSWER_MAX: u64 = 4096;
/// Pushing the binary over a slow line takes its time.
const PUSH_MILLIS: u32 = 300_000;

/// Starts a command. Each word is quoted, so that no shell takes any of it for something else.
pub fn exec(login: &Login, command: &[String]) -> Result<Channel> {
    let line: Vec<String> = command.iter().map(|word| quote(word)).collect();
    let mut channel = login.session.channel_session().map_err(|error| broken(login, &error))?;
    channel.exec(&line.join(" ")).map_err(|error| broken(login, &error))?;
    Ok(channel)
}

/// The path of a binary there that is the same as `binary` here.
pub fn ensure(login: &Login, binary: &Path) -> Result<String> {
    let ours = std::fs::read(binary).map_err(|error| Error::io("read", binary.display(), error))?;
    let digest = blake3::hash(&ours).to_hex();
    let name = format!("viaduct-{}-{}", env!("CARGO_PKG_VERSION"), &digest[..16]);
    let found = script(
        login,
        &format!(r#"f="$HOME/.cache/fluidcloud/{name}"; test -x "$f" && echo "$f" || true"#),
        &[],
    )?;
    if !found.is_empty() {
        return Ok(found);
    }
    // It appears under its name only when it is whole, whoever else is pushing at the same time.
    let push = format!(
        r#"set -e; umask 077; d="$HOME/.cache/fluidcloud"; mkdir -p "$d"; t="$d/.{name}.$$"
trap 'rm -f "$t"' EXIT; cat > "$t"; test "$(wc -c < "$t")" -eq {}; chmod 700 "$t"; mv -f "$t" "$d/{name}"; echo "$d/{name}""#,
        ours.len()
    );
    login.session.set_timeout(PUSH_MILLIS);
    let pushed = script(login, &push, &ours);
    login.session.set_timeout(crate::limits::HANDSHAKE.as_millis() as u32);
    pushed
}

/// Runs a script of the POSIX shell with `input`; what it prints, trimmed.
fn script(login: &Login, script: &str, input: &[u8]) -> Result<String> {
    let mut channel = exec(login, &["sh".to_owned(), "-c".to_owned(), script.to_owned()])?;
    let (mut said, mut complained) = (String::new(), String::new());
    // A write fails where the script ended early; then what it said tells why.
    let sent = channel.write_all(input);
    let _ = channel.send_eof();
    let mut run = || -> std::io::Result<i32> {
        Read::by_ref(&mut channel).take(ANSWER_MAX).read_to_string(&mut said)?;
        channel.stderr().take(ANSWER_MAX).read_to_string(&mut complained)?;
        channel.wait_close()?;
        Ok(channel.exit_status()?)
    };
    let why = match run() {
        Ok(0) if sent.is_ok() => return Ok(said.trim().to_owned()),
        Ok(code) => format!("putting the viaduct there ended with {code}: {}", complained.trim()),
        Err(error) => format!("putting the viaduct there failed: {error}"),
    };
    Err(Error::Remote { host: login.host.clone(), why })
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn broken(login: &Login, error: &ssh2::Error) -> Error {
    Error::Broken { whom: login.host.clone(), why: error.message().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_mean_only_themselves() {
        for word in ["plain", "two words", "it's", "$(reboot)", "`x`", "a\"b", "\\", "*", ""] {
            let printed =
                std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quote(word))]).output();
            assert_eq!(printed.unwrap().stdout, word.as_bytes());
        }
    }
}
