//! The text that a far shell reads: exact quoting, and the line that tells `watch.sh` and `put.sh` what to do. That
//! line goes over standard input, so neither arguments nor environment are on the shell's own command line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Command;

pub(super) const WATCH: &str = include_str!("watch.sh");
pub(super) const PUT: &str = include_str!("put.sh");

/// What the scripts add to the status of what they ran: see `watch.sh`.
const STATUS_MASK: i32 = 165;
/// A shell says 128 + N of what signal N ended.
const KILLED: std::ops::RangeInclusive<i32> = 129..=159;
/// What `watch.sh` and `put.sh` end with when they could not do their own part.
pub(super) const REFUSED: i32 = 125;

/// The status of the command from the status of the script; `None` when it was killed or the script did not end
/// by itself.
pub(super) fn status(of_script: i32) -> Option<i32> {
    let status = of_script ^ STATUS_MASK;
    (of_script > 0 && (0..=255).contains(&status) && !KILLED.contains(&status)).then_some(status)
}

/// What is fed to a script first. `held`: the command's standard input stays open after its bytes. `lost_secs`: how
/// long the script waits for a sign of life; 0 is for ever.
pub(super) fn watch_feed(
    command: &Command,
    dir: &Path,
    held: bool,
    lost_secs: u64,
) -> Result<Vec<u8>, NulByte> {
    let mut line = Vec::new();
    set(&mut line, "dir", dir.as_os_str().as_bytes())?;
    let held = if held { "yes" } else { "no" };
    line.extend(
        format!("input={} held={held} lost={lost_secs}; run() {{ ", command.stdin.len()).into_bytes(),
    );
    for (name, value) in &command.env {
        if !is_env_name(name) {
            return Err(NulByte);
        }
        line.extend(b"export ");
        set(&mut line, name, value.as_bytes())?;
    }
    line.extend(b"exec setsid ");
    quote(&mut line, command.program.as_os_str().as_bytes())?;
    for arg in &command.args {
        line.push(b' ');
        quote(&mut line, arg.as_bytes())?;
    }
    line.extend(b"; }\n");
    line.extend(&command.stdin);
    Ok(line)
}

pub(super) fn put_feed(bytes: &[u8], dir: &Path, path: &Path, mode: u32) -> Result<Vec<u8>, NulByte> {
    let mut line = Vec::new();
    set(&mut line, "dir", dir.as_os_str().as_bytes())?;
    set(&mut line, "path", path.as_os_str().as_bytes())?;
    line.extend(format!("mode={:o} size={}\n", mode & 0o7777, bytes.len()).into_bytes());
    line.extend(bytes);
    Ok(line)
}

/// As one word for the command line of any POSIX-like login shell.
pub(super) fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Neither arguments nor names of variables can carry it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NulByte;

fn set(line: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), NulByte> {
    line.extend(name.as_bytes());
    line.push(b'=');
    quote(line, value)?;
    line.extend(b"; ");
    Ok(())
}

/// On one line: newlines come from the script's variable `nl`.
fn quote(line: &mut Vec<u8>, word: &[u8]) -> Result<(), NulByte> {
    line.push(b'\'');
    for byte in word {
        match byte {
            0 => return Err(NulByte),
            b'\'' => line.extend(br"'\''"),
            b'\n' => line.extend(br#"'"$nl"'"#),
            byte => line.push(*byte),
        }
    }
    line.push(b'\'');
    Ok(())
}

fn is_env_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// How a command is shown in messages: its name and the first arguments. Never its environment or input.
pub(super) fn shown(command: &Command) -> String {
    const SHOWN_MAX: usize = 200;
    let mut shown = command.program.display().to_string();
    for arg in &command.args {
        shown.push(' ');
        shown.push_str(arg);
    }
    if shown.chars().count() > SHOWN_MAX {
        shown = shown.chars().take(SHOWN_MAX).chain("…".chars()).collect();
    }
    shown.replace(|c: char| c.is_control(), " ")
}

pub(super) fn is_plain_absolute(path: &Path) -> bool {
    let plain = |part: std::path::Component<'_>| !matches!(part, std::path::Component::ParentDir);
    path.is_absolute()
        && path.components().all(plain)
        && path.file_name().is_some_and(|name| name != OsStr::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_script_can_say_success() {
        assert_eq!(status(STATUS_MASK), Some(0));
        for foreign in [-1, 0, 1, 2, 126, 127, 255] {
            assert_ne!(status(foreign), Some(0), "{foreign}");
        }
    }

    #[test]
    fn a_nul_byte_is_refused() {
        let command = Command::new("printf").arg("a\0b");
        assert_eq!(watch_feed(&command, Path::new("/d"), false, 0), Err(NulByte));
    }

    #[test]
    fn the_first_line_is_one_line() {
        let command = Command::new("printf").arg("a\nb'c").env("K", "v\nw").stdin("in\nput");
        let feed = watch_feed(&command, Path::new("/d"), false, 0).unwrap();
        let line = feed.split(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(&feed[line.len() + 1..], b"in\nput");
    }

    #[test]
    fn an_environment_is_not_shown() {
        assert_eq!(shown(&Command::new("prog").arg("a").env("TOKEN", "secret").stdin("secret")), "prog a");
    }
}
