//! Reaching a host and proving both sides: the host by its key, which must be known beforehand; us by our key. Blocking.

use super::{SshDestination, SshLogin};
use crate::error::{Error, Result};
use crate::limits::HANDSHAKE;
use ssh2::{CheckResult, HashType, KnownHostFileKind, MethodType, Session};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// The kinds of host key, best first. A host shows one kind per connection: the one asked for.
const KINDS: [&str; 5] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512,rsa-sha2-256",
];
const CIPHERS: &str =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr";
/// Seconds between signs of life on an idle connection.
pub(super) const KEEPALIVE_SECS: u32 = 15;

/// What the host's key must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKey {
    /// As `ssh-keygen -lf` prints it: `SHA256:` and base64.
    Fingerprint(String),
    /// As OpenSSH keeps them.
    KnownHosts(PathBuf),
}

/// A session that is logged in, with the socket it goes over.
pub struct Login {
    pub session: Session,
    pub socket: TcpStream,
    pub host: String,
}

pub fn login(to: &SshDestination, proof: &SshLogin) -> Result<Login> {
    let host = &to.host;
    let (mut seen, mut last) = (Vec::new(), None);
    // The key we know may be of another kind than the one the host would show by itself.
    for kind in KINDS {
        let (session, socket) = match handshake(to, kind) {
            Ok(done) => done,
            // The host has no key of this kind.
            Err(error @ Error::Broken { .. }) => {
                last = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let fingerprint = fingerprint_of(&session);
        if expected(&session, to, &proof.host_key, &fingerprint)? {
            authenticate(&session, to, &proof.identity)?;
            session.set_keepalive(true, KEEPALIVE_SECS);
            return Ok(Login { session, socket, host: host.clone() });
        }
        seen.push(fingerprint);
    }
    match last {
        Some(error) if seen.is_empty() => Err(error),
        _ => Err(Error::WrongHostKey {
            host: host.clone(),
            seen: seen.join(" or "),
            expected: match &proof.host_key {
                HostKey::Fingerprint(fingerprint) => fingerprint.clone(),
                HostKey::KnownHosts(path) => format!("one that {} knows", path.display()),
            },
        }),
    }
}

fn handshake(to: &SshDestination, kind: &str) -> Result<(Session, TcpStream)> {
    let (host, port) = (&to.host, to.port);
    let unreachable = |source| Error::Unreachable { whom: format!("{host}:{port}"), source };
    let broken = |error: ssh2::Error| Error::Broken { whom: host.clone(), why: error.message().to_owned() };
    let mut socket = Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    for address in (host.as_str(), port).to_socket_addrs().map_err(unreachable)? {
        socket = TcpStream::connect_timeout(&address, HANDSHAKE);
        if socket.is_ok() {
            break;
        }
    }
    let socket = socket.map_err(unreachable)?;
    let _ = socket.set_nodelay(true);
    let mut session = Session::new().map_err(broken)?;
    session.set_timeout(HANDSHAKE.as_millis() as u32);
    for method in [MethodType::CryptCs, MethodType::CryptSc] {
        session.method_pref(method, CIPHERS).map_err(broken)?;
    }
    session.method_pref(MethodType::HostKey, kind).map_err(broken)?;
    session.set_tcp_stream(socket.try_clone().map_err(unreachable)?);
    session.handshake().map_err(broken)?;
    Ok((session, socket))
}

fn fingerprint_of(session: &Session) -> String {
    let hash = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    format!("SHA256:{}", data_encoding::BASE64_NOPAD.encode(hash))
}

fn expected(session: &Session, to: &SshDestination, key: &HostKey, seen: &str) -> Result<bool> {
    match key {
        HostKey::Fingerprint(fingerprint) => Ok(fingerprint.trim_end_matches('=') == seen),
        HostKey::KnownHosts(path) => {
            let fail = |error: ssh2::Error| Error::io("read", path.display(), error.into());
            let mut known = session.known_hosts().map_err(fail)?;
            known.read_file(path, KnownHostFileKind::OpenSSH).map_err(fail)?;
            let Some((key, _)) = session.host_key() else { return Ok(false) };
            let checked = known.check_port(&to.host, to.port, key);
            Ok(matches!(checked, CheckResult::Match))
        }
    }
}

fn authenticate(session: &Session, to: &SshDestination, path: &Path) -> Result<()> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Error::io("read identity", path.display(), error))?;
    let key = private_key(&text)
        .ok_or_else(|| Error::Identity { path: path.to_owned(), why: "it holds no private key".into() })?;
    let (user, host) = (&to.user, &to.host);
    let failed = |error: ssh2::Error| Error::Login {
        user: user.clone(),
        host: host.clone(),
        why: error.message().to_owned(),
    };
    session.userauth_pubkey_memory(user, None, key, None).map_err(failed)
}

/// The first private key in a file that may hold a certificate too.
fn private_key(text: &str) -> Option<&str> {
    let end = text.find(" PRIVATE KEY-----").map(|at| (at, "PRIVATE KEY-----"))?;
    let start = text[..end.0].rfind("-----BEGIN")?;
    let footer = text[start..].find("-----END").map(|at| start + at)?;
    let stop = text[footer..].find(end.1).map(|at| footer + at + end.1.len())?;
    // The parser wants the line to end.
    Some(text.get(start..stop + 1).filter(|key| key.ends_with('\n')).unwrap_or(&text[start..stop]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_key_is_found_among_other_things() {
        let key = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n";
        let file = format!("comment\n{key}-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
        assert_eq!(private_key(&file), Some(key));
        let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----";
        assert_eq!(private_key(openssh), Some(openssh));
        assert_eq!(private_key("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"), None);
    }
}
