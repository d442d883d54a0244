//! How an end is written on a command line: `file:PATH` or a bare path, `qcow2:PATH`, `nbd://HOST[:PORT]/EXPORT`,
//! `nbd+unix:///EXPORT?socket=PATH`, `dd+ssh://USER@HOST[:PORT]/PATH`, or `-`. Parsing only; nothing is opened here.

use crate::error::{Error, Result};
use crate::transport::SshDestination;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const NBD_PORT: u16 = 10809;
const REMEDY: &str = "write file:PATH, qcow2:PATH, nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, dd+ssh://USER@HOST[:PORT]/PATH or -";

/// A disk at this site, but for [`Disk::Far`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A raw file or a block device.
    File(PathBuf),
    Qcow2(PathBuf),
    Nbd(NbdAddress),
    /// A raw file or device on a host where only a shell and dd are.
    Far(SshDestination),
    /// Stdin or stdout.
    Stdio,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NbdAddress {
    Unix { socket: PathBuf, export: String },
    Tcp { host: String, port: u16, export: String },
}

impl Disk {
    /// The file that makes up the disk, where one at this site does.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Disk::File(path) | Disk::Qcow2(path) => Some(path),
            Disk::Nbd(_) | Disk::Far(_) | Disk::Stdio => None,
        }
    }
}

impl FromStr for Disk {
    type Err = Error;

    fn from_str(text: &str) -> Result<Disk> {
        let wrong = |why: &str| Error::usage(format!("`{text}`"), why, REMEDY);
        if let Some(rest) = text.strip_prefix("nbd+unix://") {
            let (export, query) = rest.split_once('?').ok_or_else(|| wrong("it names no socket"))?;
            let export = export.strip_prefix('/').ok_or_else(|| wrong("an export starts with /"))?;
            let socket = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("socket="))
                .ok_or_else(|| wrong("it names no socket"))?;
            let (Some(socket), Some(export)) = (unescape(socket), unescape(export)) else {
                return Err(wrong("it has a broken %-escape"));
            };
            return Ok(Disk::Nbd(NbdAddress::Unix { socket: socket.into(), export }));
        }
        if let Some(rest) = text.strip_prefix("nbd://") {
            let (authority, export) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) =
                split_port(authority, NBD_PORT).ok_or_else(|| wrong("it names no host and port"))?;
            let export = unescape(export).ok_or_else(|| wrong("it has a broken %-escape"))?;
            return Ok(Disk::Nbd(NbdAddress::Tcp { host, port, export }));
        }
        if text == "-" {
            return Ok(Disk::Stdio);
        }
        if let Some(rest) = text.strip_prefix("dd+") {
            return rest.parse().map(Disk::Far).map_err(|_| wrong("it names no user, host and path"));
        }
        let path = |rest: &str| match rest.strip_prefix("//") {
            // file:///PATH, as browsers write it.
            Some(path) if path.starts_with('/') => PathBuf::from(path),
            _ => PathBuf::from(rest),
        };
        let disk = if let Some(rest) = text.strip_prefix("file:") {
            Disk::File(path(rest))
        } else if let Some(rest) = text.strip_prefix("qcow2:") {
            Disk::Qcow2(path(rest))
        } else if text.contains("://") {
            return Err(wrong("no such kind of disk"));
        } else {
            Disk::File(text.into())
        };
        if disk.path().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(wrong("it names no path"));
        }
        Ok(disk)
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disk::File(path) => write!(f, "file:{}", path.display()),
            Disk::Qcow2(path) => write!(f, "qcow2:{}", path.display()),
            Disk::Nbd(address) => fmt::Display::fmt(address, f),
            Disk::Far(destination) => write!(f, "dd+{destination}"),
            Disk::Stdio => f.write_str("-"),
        }
    }
}

impl fmt::Display for NbdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NbdAddress::Unix { socket, export } => {
                write!(f, "nbd+unix:///{}?socket={}", escape(export), escape(&socket.to_string_lossy()))
            }
            NbdAddress::Tcp { host, port, export } if host.contains(':') => {
                write!(f, "nbd://[{host}]:{port}/{}", escape(export))
            }
            NbdAddress::Tcp { host, port, export } => write!(f, "nbd://{host}:{port}/{}", escape(export)),
        }
    }
}

/// Splits `HOST[:PORT]`, where an IPv6 host stands in brackets.
pub(crate) fn split_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(tail.get(..2)?).ok()?, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                escaped.push(byte.into())
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, port: u16, export: &str) -> Disk {
        Disk::Nbd(NbdAddress::Tcp { host: host.into(), port, export: export.into() })
    }

    #[test]
    fn every_documented_form_is_understood() {
        let parse = |text: &str| text.parse::<Disk>().unwrap();
        assert_eq!(parse("disk.raw"), Disk::File("disk.raw".into()));
        assert_eq!(parse("/a b/disk:1"), Disk::File("/a b/disk:1".into()));
        assert_eq!(parse("file:/a"), Disk::File("/a".into()));
        assert_eq!(parse("file:///a"), Disk::File("/a".into()));
        assert_eq!(parse("qcow2:a.qcow2"), Disk::Qcow2("a.qcow2".into()));
        assert_eq!(parse("nbd://host/x"), tcp("host", 10809, "x"));
        assert_eq!(parse("nbd://[::1]:7/"), tcp("::1", 7, ""));
        assert_eq!(
            parse("nbd+unix:///sda?socket=/run/a%20b"),
            Disk::Nbd(NbdAddress::Unix { socket: "/run/a b".into(), export: "sda".into() })
        );
        assert_eq!(parse("-"), Disk::Stdio);
        assert_eq!(parse("./-"), Disk::File("./-".into()));
        let far = parse("dd+ssh://root@[fe80::1]:2222/a b/it's.raw");
        assert!(matches!(&far, Disk::Far(at) if at.path == "/a b/it's.raw" && at.port == 2222));
        assert_eq!(parse(&far.to_string()), far);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_remedy() {
        for wrong in [
            "http://x/y",
            "nbd+unix:///x",
            "nbd+unix://x?socket=/y",
            "nbd://:5/x",
            "nbd://h:port/x",
            "",
            "file:",
            "nbd://h/%z",
            "dd+ssh://host/x",
            "dd+tls://u@h/x",
        ] {
            let error = wrong.parse::<Disk>().unwrap_err();
            assert!(error.remedy().contains("nbd+unix"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_disk_survives_its_text_form(export in ".{0,20}", socket in "/[^\0]{0,20}", port: u16) {
            for disk in [
                Disk::Nbd(NbdAddress::Unix { socket: socket.clone().into(), export: export.clone() }),
                tcp("fe80::1", port, &export),
            ] {
                prop_assert_eq!(disk.to_string().parse::<Disk>().unwrap(), disk);
            }
        }
    }
}
