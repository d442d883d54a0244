//! Where tokens are: the broker's in its state directory; that of a caller in `FLUIDCLOUD_TOKEN`, in the file `http.token_file`, or,
//! on the broker's own host and for its own user, in the state directory too.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use fluidcloud_broker::access::{Access, Role, Tokens};

use crate::config::Config;
use crate::fault::{Exit, Fault};

const TOKENS_FILE: &str = "tokens.json";
const AUDIT_FILE: &str = "audit.jsonl";
/// The name of the token that a broker makes for its own user, and the file that it is in.
const LOCAL: &str = "local";
const LOCAL_FILE: &str = "local.token";
const VARIABLE: &str = "FLUIDCLOUD_TOKEN";

pub fn of(config: &Config) -> Tokens {
    Tokens::at(config.state.join(TOKENS_FILE))
}

pub fn audit_file(config: &Config) -> std::path::PathBuf {
    config.state.join(AUDIT_FILE)
}

/// Who is let in by a broker with this configuration. Its own user is, without having to make a token.
pub fn access(config: &Config, development: bool) -> Result<Access, Fault> {
    make_state(config)?;
    if development {
        tracing::warn!("a development start: everybody on this host may use the API, without a token");
        return Ok(Access::Development);
    }
    let tokens = of(config);
    let fault = |error| Fault::from_error(Exit::Failed, &error);
    let path = config.state.join(LOCAL_FILE);
    let known = match read(&path) {
        Some(token) => tokens.knows(&token).map_err(fault)?,
        None => false,
    };
    if !known {
        let secret = tokens.renew(LOCAL, Role::Admin).map_err(fault)?;
        write(&path, secret.reveal()).map_err(|error| {
            let what = format!("cannot write {}: {error}", path.display());
            Fault::failed(what, "see that this user owns the state directory")
        })?;
    }
    Ok(Access::Tokens(tokens))
}

/// Requests are in the state directory, and with them whatever their rules write into guests.
fn make_state(config: &Config) -> Result<(), Fault> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.state);
    made.map_err(|error| {
        let what = format!("cannot make the state directory {}: {error}", config.state.display());
        Fault::usage(what, "set `state` to a directory that this user may write")
    })
}

/// What a command shows to the API. None is no error yet: a development start takes none.
pub fn ours(config: &Config) -> Result<Option<String>, Fault> {
    if let Some(token) = std::env::var(VARIABLE).ok().filter(|token| !token.trim().is_empty()) {
        return Ok(Some(token.trim().to_owned()));
    }
    if let Some(path) = &config.http.token_file {
        let token = read(path).ok_or_else(|| {
            let what = format!("cannot read a token from http.token_file {}", path.display());
            Fault::usage(what, "write one into it, made with `fluidcloud token create`")
        })?;
        return Ok(Some(token));
    }
    // For the broker on this host, whoever else `http.url` may name.
    Ok(if is_here(&config.http_url()) { read(&config.state.join(LOCAL_FILE)) } else { None })
}

/// A token is not sent where others could read it on its way.
pub fn may_go(url: &str) -> Result<(), Fault> {
    if url.starts_with("https://") || is_here(url) {
        return Ok(());
    }
    let what = format!("{url} is reached over a network and without TLS: the token would be readable there");
    Err(Fault::usage(what, "use https:// in `http.url`, or reach the broker through `ssh -L`"))
}

fn is_here(url: &str) -> bool {
    let Some(host) = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)) else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let token = text.lines().next().unwrap_or_default().trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// Seen whole, by its owner only.
fn write(path: &Path, token: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&new, path)
}
