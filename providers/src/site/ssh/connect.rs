//! From nothing to a channel: connect, handshake, host key, user key, exec. Blocking, every wait bounded.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use fluidcloud_proto::ids::ProviderId;
use ssh2::{Channel, CheckResult, ErrorCode, KnownHostFileKind, MethodType, Session};

use crate::config::SshConfig;
use crate::error::Error;

const CONNECT: Duration = Duration::from_secs(10);
/// For the handshake, the authentication and the exec, each.
const HANDSHAKE_MS: u32 = 20_000;
/// What was sent and never acknowledged for so long: the connection is dead.
const UNACKNOWLEDGED_MS: u32 = 45_000;

/// libssh2's numbers for what it does not name in the binding.
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const FILE: i32 = -16;

#[derive(Debug)]
pub(super) struct Open {
    session: SessionBox,
    stream: TcpStream,
}

/// A command at the far side, in non-blocking mode.
pub(super) struct Begun {
    pub channel: Channel,
    pub session: Session,
    pub stream: TcpStream,
}

/// `Session` has no `Debug`.
struct SessionBox(Session);

impl std::fmt::Debug for SessionBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// `known` are the lines of known hosts, if they are not in the file that `login` names.
pub(super) fn open(provider: &ProviderId, login: &SshConfig, known: Option<&str>) -> Result<Open, Error> {
    let stream = connect(login)?;
    let mut session = Session::new().map_err(|cause| unreachable(login, cause))?;
    session.set_timeout(HANDSHAKE_MS);
    session.set_tcp_stream(stream.try_clone().map_err(|cause| unreachable(login, cause))?);
    let known = match known {
        Some(lines) => lines.to_owned(),
        None => read(provider, "known hosts", &login.known_hosts)?,
    };
    let kinds = key_kinds(&known, login);
    if !kinds.is_empty() {
        // Ask for the kind of key that we know, as a host has several.
        let _ = session.method_pref(MethodType::HostKey, &kinds);
    }
    session.handshake().map_err(|cause| unreachable(login, cause))?;
    check_host(&session, login, &known)?;
    authenticate(&session, provider, login)?;
    Ok(Open { session: SessionBox(session), stream })
}

impl Open {
    pub fn exec(self, login: &SshConfig, command: &str) -> Result<Begun, Error> {
        let Self { session: SessionBox(session), stream } = self;
        let mut channel = session.channel_session().map_err(|cause| unreachable(login, cause))?;
        channel.exec(command).map_err(|cause| unreachable(login, cause))?;
        session.set_blocking(false);
        Ok(Begun { channel, session, stream })
    }
}

fn connect(login: &SshConfig) -> Result<TcpStream, Error> {
    let addresses =
        (login.host.as_str(), login.port).to_socket_addrs().map_err(|cause| unreachable(login, cause))?;
    let mut last = std::io::Error::other("its name has no address");
    for address in addresses {
        match connect_to(address) {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(unreachable(login, last))
}

fn connect_to(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS)?;
    Ok(stream)
}

fn check_host(session: &Session, login: &SshConfig, known: &str) -> Result<(), Error> {
    let refused = || Error::HostKey {
        host: format!("{}:{}", login.host, login.port),
        known_hosts: login.known_hosts.display().to_string(),
    };
    let mut hosts = session.known_hosts().map_err(|cause| unreachable(login, cause))?;
    for line in known.lines().filter(|line| !line.trim_start().starts_with('@')) {
        // A line that libssh2 cannot read vouches for nobody.
        let _ = hosts.read_str(line, KnownHostFileKind::OpenSSH);
    }
    let (key, _) = session.host_key().ok_or_else(refused)?;
    match hosts.check_port(&login.host, login.port, key) {
        CheckResult::Match => Ok(()),
        CheckResult::Mismatch | CheckResult::NotFound | CheckResult::Failure => Err(refused()),
    }
}

fn authenticate(session: &Session, provider: &ProviderId, login: &SshConfig) -> Result<(), Error> {
    read(provider, "the ssh key", &login.key)?;
    match session.userauth_pubkey_file(&login.user, None, &login.key, None) {
        Ok(()) => Ok(()),
        Err(error) => Err(match error.code() {
            ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => Error::Unauthorized {
                host: format!("{}:{}", login.host, login.port),
                user: login.user.clone(),
                key: login.key.display().to_string(),
            },
            ErrorCode::Session(FILE) => Error::Config {
                provider: provider.to_string(),
                what: format!(
                    "{} is no usable ssh key ({}): give one without passphrase",
                    login.key.display(),
                    error.message()
                ),
            },
            _ => unreachable(login, error),
        }),
    }
}

/// Kinds of key that known hosts has for this host, as names of algorithms. Hashed names may be anybody's.
fn key_kinds(known: &str, login: &SshConfig) -> String {
    let names =
        if login.port == 22 { login.host.clone() } else { format!("[{}]:{}", login.host, login.port) };
    let mut kinds: Vec<&str> = Vec::new();
    for line in known.lines() {
        let mut fields = line.split_whitespace();
        let (Some(hosts), Some(kind)) = (fields.next(), fields.next()) else { continue };
        let ours =
            hosts.starts_with("|1|") || hosts.split(',').any(|host| host == names || host == login.host);
        if !ours || line.starts_with(['#', '@']) {
            continue;
        }
        let algorithms = if kind == "ssh-rsa" { "rsa-sha2-512,rsa-sha2-256,ssh-rsa" } else { kind };
        if !kinds.contains(&algorithms) {
            kinds.push(algorithms);
        }
    }
    kinds.join(",")
}

fn read(provider: &ProviderId, what: &str, path: &Path) -> Result<String, Error> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|cause| {
        Error::Config {
            provider: provider.to_string(),
            what: format!(
                "cannot read {what} {} ({cause}): correct the path, or make it readable",
                path.display()
            ),
        }
    })
}

fn unreachable(login: &SshConfig, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unreachable { what: format!("ssh at {}:{}", login.host, login.port), cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_key_we_know_are_asked_for() {
        let login = SshConfig {
            host: "10.0.0.1".into(),
            port: 2222,
            user: "root".into(),
            key: "/k".into(),
            known_hosts: "/h".into(),
        };
        let known =
            "# 10.0.0.1 x\nother ssh-dss A\n[10.0.0.1]:2222,alias ssh-rsa A\n[10.0.0.1]:2222 ssh-ed25519 B\n";
        assert_eq!(key_kinds(known, &login), "rsa-sha2-512,rsa-sha2-256,ssh-rsa,ssh-ed25519");
        assert_eq!(key_kinds("", &login), "");
    }
}
