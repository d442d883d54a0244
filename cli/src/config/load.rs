//! Finds the configuration file, lays the environment over it (`FLUIDCLOUD__HTTP__LISTEN` for `http.listen`) and
//! refuses what is not understood. Relative paths are relative to the file.

use std::path::{Path, PathBuf};

use config::{ConfigError, Environment, File, FileFormat};

use super::{AmqpUrl, Config};
use crate::fault::Fault;

/// Looked for in this order.
const PLACES: [&str; 2] = ["fluidcloud.yaml", "/etc/fluidcloud/fluidcloud.yaml"];
/// A larger file is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;
const ENV_PREFIX: &str = "FLUIDCLOUD";

/// For roles and whatever needs providers: there must be a file.
pub fn load(given: Option<&Path>) -> Result<Config, Fault> {
    match find(given) {
        Some(file) => read(Some(&file)),
        None => Err(Fault::usage(
            format!("there is no configuration: neither {} nor {} exists", PLACES[0], PLACES[1]),
            "write one, or name it with --config FILE or FLUIDCLOUD_CONFIG",
        )),
    }
}

/// For commands that only talk to what runs: without a file the defaults hold.
pub fn load_or_default(given: Option<&Path>) -> Result<Config, Fault> {
    read(find(given).as_deref())
}

fn find(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(|| PLACES.iter().map(PathBuf::from).find(|place| place.exists()))
}

fn read(file: Option<&Path>) -> Result<Config, Fault> {
    let mut sources = config::Config::builder();
    if let Some(file) = file {
        sources = sources.add_source(File::from_str(&read_text(file)?, format_of(file)));
    }
    let environment = Environment::with_prefix(ENV_PREFIX).prefix_separator("__").separator("__");
    let all = sources.add_source(environment).build().map_err(|error| refused(file, error.to_string()))?;
    let read = all.clone().try_deserialize::<Config>();
    let mut config = read.map_err(|error| refused(file, told(&error, all)))?;
    config.file = file.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
    let base = config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    resolve_paths(&mut config, &base);
    read_amqp_url(&mut config)?;
    Ok(config)
}

fn read_text(file: &Path) -> Result<String, Fault> {
    let cannot = |error: std::io::Error| {
        let what = format!("cannot read the configuration {}: {error}", file.display());
        Fault::usage(what, "name a file that exists with --config FILE or FLUIDCLOUD_CONFIG")
    };
    if std::fs::metadata(file).map_err(cannot)?.len() > FILE_BYTES_MAX {
        let what = format!("{} is larger than {FILE_BYTES_MAX} bytes", file.display());
        return Err(Fault::usage(what, "name a configuration file"));
    }
    std::fs::read_to_string(file).map_err(cannot)
}

fn format_of(file: &Path) -> FileFormat {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => FileFormat::Json,
        Some("toml") => FileFormat::Toml,
        _ => FileFormat::Yaml,
    }
}

fn refused(file: Option<&Path>, error: impl std::fmt::Display) -> Fault {
    let place = file.map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    let remedy = "mend it there, or in the variable FLUIDCLOUD__… that stands over it";
    Fault::usage(format!("configuration {place}: {}", without_secrets(&error.to_string())), remedy)
}

/// Readers quote what they do not understand, which may be a url with its password in the wrong place.
fn without_secrets(told: &str) -> String {
    let mut parts = told.split("://");
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_whitespace() || "\"'`".contains(c)).unwrap_or(part.len());
        let (hidden, shown) = match part[..end].rfind('@') {
            Some(at) if part[..at].contains(':') => ("…", &part[at..]),
            _ => ("", part),
        };
        safe.push_str(&format!("://{hidden}{shown}"));
    }
    safe
}

/// The key comes from one reader, and what was expected there from another, which knows the names of variants.
fn told(error: &ConfigError, all: config::Config) -> String {
    let told = error.to_string().replace(']', "].").replace("].`", "]`");
    let Some((what, key)) = told.rsplit_once(" for key ") else { return told };
    if !what.contains("variant constructor") {
        return format!("{key}: {what}");
    }
    let plain = all.try_deserialize::<serde_json::Value>().map(serde_json::from_value::<Config>);
    match plain {
        Ok(Err(error)) => format!("{key}: {error}"),
        _ => format!("{key}: {what}"),
    }
}

/// Only paths on this host: those of a site are absolute, and keys for a peer lie at that peer.
fn resolve_paths(config: &mut Config, base: &Path) {
    let mut paths = vec![&mut config.state];
    paths.extend(config.bus.amqp.iter_mut().filter_map(|amqp| amqp.url_file.as_mut()));
    paths.extend(config.workers.viaduct.as_mut());
    paths.extend([config.http.ca.as_mut(), config.http.token_file.as_mut()].into_iter().flatten());
    paths.extend(config.http.tls.iter_mut().flat_map(|tls| [&mut tls.certificate, &mut tls.key]));
    for provider in &mut config.providers {
        if let Some(ssh) = provider.site.as_mut().and_then(|site| site.ssh.as_mut()) {
            paths.push(&mut ssh.key);
            paths.push(&mut ssh.known_hosts);
        }
        if let Some(cloud) = &mut provider.openstack {
            paths.extend(cloud.helper.as_mut().map(|helper| &mut helper.key));
            paths.extend(cloud.clouds_file.as_mut());
        }
    }
    for path in paths {
        *path = base.join(&*path);
    }
}

/// After it, an AMQP part has its url.
fn read_amqp_url(config: &mut Config) -> Result<(), Fault> {
    let place = config.place();
    let Some(amqp) = &mut config.bus.amqp else { return Ok(()) };
    match (&amqp.url, &amqp.url_file) {
        (Some(_), None) => Ok(()),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                let what = format!("cannot read bus.amqp.url_file {}: {error}", file.display());
                Fault::usage(what, "write the url of the bus into it")
            })?;
            let url = text.lines().next().unwrap_or_default().to_owned();
            let in_file = |error| Fault::usage(format!("{}: {error}", file.display()), "");
            amqp.url = Some(AmqpUrl::try_from(url).map_err(in_file)?);
            Ok(())
        }
        (Some(_), Some(_)) => Err(Fault::usage(
            format!("configuration {place}: bus.amqp has both url and url_file"),
            "leave one of them out",
        )),
        (None, None) => Err(Fault::usage(
            format!("configuration {place}: bus.amqp has neither url nor url_file"),
            "add one of them, or leave out bus.amqp to run over memory",
        )),
    }
}

#[cfg(test)]
mod tests;
