//! Finding an instance by its name, and turning it on and off.

use std::net::IpAddr;
use std::time::Duration;

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::Power;
use serde_json::json;

use super::OpenstackProvider;
use super::definition::{self, Definition};
use super::servers::Server;
use super::tag::{self, KEPT, Role};
use super::wait::until;
use crate::error::Error;
use crate::provider::Stopped;

/// Nova waits a minute for the guest, or as long as its image says, and then takes its time.
const STOPPED_MAX: Duration = Duration::from_secs(420);
const STARTED_MAX: Duration = Duration::from_secs(180);
const POWERED_DOWN: [&str; 2] = ["reboot: Power down", "reboot: System halted"];
/// Lines at the end of a console among which the word is.
const LAST_WORDS: usize = 8;
/// A task that somebody else began.
const BUSY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) enum Found {
    Server(Box<Server>),
    /// Never started.
    Defined(Box<Definition>),
}

impl OpenstackProvider {
    /// By its name, or by its id where the name is used twice.
    pub(super) async fn find(&self, instance: &InstanceName) -> Result<Found, Error> {
        let mut servers = self.api.servers().await?;
        servers.retain(|server| !is_helper(server));
        if let Some(at) = servers.iter().position(|server| server.id == instance.as_str()) {
            return Ok(Found::Server(Box::new(servers.swap_remove(at))));
        }
        servers.retain(|server| server.name == instance.as_str());
        // One that failed to start is not the one.
        if servers.len() > 1 {
            servers.retain(|server| !(server.status == "ERROR" && server.metadata.contains_key(tag::ROLE)));
        }
        match (servers.len(), servers.pop()) {
            (1, Some(server)) => Ok(Found::Server(Box::new(server))),
            (0, _) => {
                let defined = definition::among(&self.api.volumes().await?);
                let defined = defined.into_iter().find(|defined| defined.name == *instance);
                defined.map(|defined| Found::Defined(Box::new(defined))).ok_or_else(|| self.unknown(instance))
            }
            (count, _) => Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("tell which of {} servers called `{instance}` is meant", count),
                remedy: "name it by its id".to_owned(),
            }),
        }
    }

    pub(super) async fn the_server(&self, instance: &InstanceName) -> Result<Server, Error> {
        match self.find(instance).await? {
            Found::Server(server) => Ok(*server),
            Found::Defined(_) => Err(self.unknown(instance)),
        }
    }

    pub(super) async fn all_instances(&self) -> Result<Vec<(InstanceName, Power)>, Error> {
        let (servers, volumes) = futures::future::try_join(self.api.servers(), self.api.volumes()).await?;
        let mut all: Vec<(InstanceName, Power)> = Vec::new();
        for server in servers.iter().filter(|server| !is_helper(server)) {
            let twice = servers.iter().filter(|other| other.name == server.name).count() > 1;
            let name = if twice { server.id.parse() } else { server.name.parse().or(server.id.parse()) };
            if let Ok(name) = name {
                all.push((name, power_of(server)));
            }
        }
        for defined in definition::among(&volumes) {
            if !all.iter().any(|(name, _)| *name == defined.name) {
                all.push((defined.name, Power::Stopped));
            }
        }
        Ok(all)
    }

    pub(super) async fn power_now(&self, instance: &InstanceName) -> Result<Power, Error> {
        Ok(match self.find(instance).await? {
            Found::Server(server) => power_of(&server),
            Found::Defined(_) => Power::Stopped,
        })
    }

    pub(super) async fn turn_on(&self, instance: &InstanceName) -> Result<(), Error> {
        let server = match self.find(instance).await? {
            Found::Defined(defined) => return self.first_start(&defined).await,
            Found::Server(server) => *server,
        };
        if let Some(defined) = self.never_ran(&server).await? {
            self.api.delete_server(&server.id).await?;
            return self.first_start(&defined).await;
        }
        let id = server.id;
        until(
            || format!("the start of `{instance}`"),
            STARTED_MAX,
            || async {
                let Some(server) = self.api.server(&id).await? else { return Err(self.unknown(instance)) };
                let action = match server.status.as_str() {
                    "ACTIVE" => return Ok(Some(())),
                    "ERROR" if server.task.is_none() => return Err(self.in_error(&server)),
                    _ if server.task.is_some() => return Ok(None),
                    "SHUTOFF" => json!({"os-start": null}),
                    "PAUSED" => json!({"unpause": null}),
                    "SUSPENDED" => json!({"resume": null}),
                    "SHELVED" | "SHELVED_OFFLOADED" => json!({"unshelve": null}),
                    _ => return Ok(None),
                };
                self.ask(&id, "start", action).await?;
                Ok(None)
            },
        )
        .await
    }

    /// A first start that failed, and whose caller went away before it was cleared: the definition is still there.
    async fn never_ran(&self, server: &Server) -> Result<Option<Definition>, Error> {
        let made = server.metadata.get(tag::ROLE).is_some_and(|role| role == Role::Server.name());
        if server.status != "ERROR" || server.launched.is_some() || !made {
            return Ok(None);
        }
        let all = definition::among(&self.api.volumes().await?);
        Ok(all.into_iter().find(|defined| {
            defined.name.as_str() == server.name && tag::is_of(&server.metadata, defined.relocation)
        }))
    }

    pub(super) async fn turn_off(&self, instance: &InstanceName, grace: Duration) -> Result<Stopped, Error> {
        let server = match self.find(instance).await? {
            Found::Defined(_) => return Ok(Stopped::Unknown),
            Found::Server(server) => *server,
        };
        until(
            || format!("the stop of `{instance}`"),
            STOPPED_MAX + grace,
            || async {
                let Some(server) = self.api.server(&server.id).await? else {
                    return Err(self.unknown(instance));
                };
                match server.status.as_str() {
                    "SHUTOFF" if server.task.is_none() => return Ok(Some(())),
                    // Its compute host lost it, but it may still run.
                    "ERROR" if server.task.is_none() => {
                        self.ask(&server.id, "stop", json!({"os-stop": null})).await?
                    }
                    "ACTIVE" | "RESCUE" if server.task.is_none() => {
                        self.ask(&server.id, "stop", json!({"os-stop": null})).await?;
                    }
                    "PAUSED" if server.task.is_none() => {
                        self.ask(&server.id, "unpause", json!({"unpause": null})).await?;
                    }
                    _ => (),
                }
                Ok(None)
            },
        )
        .await?;
        self.went_off(&server.id).await
    }

    /// Nova tells neither whether the guest went by itself nor how long it waited; the console of a Linux does. One that
    /// shows nothing of it says nothing: the guest may have another console, or a kernel that is quieter.
    async fn went_off(&self, server: &str) -> Result<Stopped, Error> {
        match self.api.console(server).await {
            Ok(console) if ends_powered_down(&console) => Ok(Stopped::Clean),
            Ok(_) => Ok(Stopped::Unknown),
            Err(error) if !error.retryable() => {
                tracing::debug!(provider = %self.id, server, %error, "its console is not told");
                Ok(Stopped::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// An action that is refused because another is under way is asked for again at the next look.
    async fn ask(&self, server: &str, what: &str, action: serde_json::Value) -> Result<(), Error> {
        match self.api.act(server, what, action).await {
            Ok(_) => Ok(()),
            Err(Error::Refused { status: 409, full: false, .. }) => {
                tokio::time::sleep(BUSY).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn in_error(&self, server: &Server) -> Error {
        Error::Driver {
            provider: self.id.to_string(),
            what: format!("start `{}`", server.name),
            cause: format!("it is in state ERROR: {}", server.reason()).into(),
        }
    }

    /// What tells that it may have written to its disks since: that it was started, or that a volume came or went. No API
    /// tells of the writing itself.
    pub(super) async fn stamp(&self, instance: &InstanceName) -> Result<Option<String>, Error> {
        match self.find(instance).await? {
            Found::Server(server) => Ok(Some(self.stamp_of(&server).await?)),
            Found::Defined(defined) => {
                let ids: Vec<&str> = defined.volumes.iter().map(|volume| volume.id.as_str()).collect();
                Ok(Some(format!("never started, {}", ids.join(" "))))
            }
        }
    }

    pub(super) async fn stamp_of(&self, server: &Server) -> Result<String, Error> {
        const HARMLESS: [&str; 9] = [
            "stop",
            "lock",
            "unlock",
            "createImage",
            "attach_interface",
            "detach_interface",
            "createBackup",
            "shelve",
            "shelveOffload",
        ];
        let actions = self.api.actions(&server.id).await?;
        let mut writing: Vec<_> =
            actions.iter().filter(|action| !HARMLESS.contains(&action.action.as_str())).collect();
        writing.sort_by(|a, b| b.start_time.cmp(&a.start_time));
        let last = writing.first().map_or("none", |action| action.request_id.as_str());
        let mut volumes: Vec<&str> = server.volumes.iter().map(|volume| volume.id.as_str()).collect();
        volumes.sort_unstable();
        Ok(format!("{last} {}", volumes.join(" ")))
    }

    pub(super) async fn keep(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
        note: &str,
    ) -> Result<(), Error> {
        let server = self.the_server(instance).await?;
        let set = [(KEPT, relocation.to_string()), (tag::NOTE, note.to_owned())];
        let set: Vec<(&str, &str)> = set.iter().map(|(key, value)| (*key, value.as_str())).collect();
        self.api.set_metadata(&server, &set).await
    }

    pub(super) async fn is_marked(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
    ) -> Result<bool, Error> {
        let Found::Server(server) = self.find(instance).await? else { return Ok(false) };
        Ok(server.metadata.get(KEPT).is_some_and(|kept| *kept == relocation.to_string()))
    }

    pub(super) async fn unkeep(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
    ) -> Result<(), Error> {
        let server = self.the_server(instance).await?;
        if server.metadata.get(KEPT).is_some_and(|kept| *kept == relocation.to_string()) {
            // The mark last: until it is gone the release is not done.
            self.api.drop_metadata(&server, tag::NOTE).await?;
            self.api.drop_metadata(&server, KEPT).await?;
        }
        Ok(())
    }

    /// Those that are reached from outside first.
    pub(super) async fn known_addresses(&self, instance: &InstanceName) -> Result<Vec<IpAddr>, Error> {
        let Found::Server(server) = self.find(instance).await? else { return Ok(Vec::new()) };
        if power_of(&server) != Power::Running {
            return Ok(Vec::new());
        }
        Ok(addresses(&server))
    }
}

pub(super) fn addresses(server: &Server) -> Vec<IpAddr> {
    let mut all: Vec<_> = server.addresses.values().flatten().collect();
    all.sort_by_key(|address| address.kind != "floating");
    all.into_iter().filter_map(|address| address.addr.parse().ok()).collect()
}

pub(super) fn power_of(server: &Server) -> Power {
    match (server.status.as_str(), server.task.as_deref()) {
        ("ACTIVE" | "PASSWORD" | "REBOOT" | "HARD_REBOOT" | "MIGRATING", _) => Power::Running,
        ("SHUTOFF", None) => Power::Stopped,
        // It comes up this moment.
        ("SHUTOFF", Some("powering-on")) => Power::Running,
        ("SHUTOFF", Some(_)) => Power::Stopped,
        _ => Power::Other,
    }
}

pub(super) fn is_helper(server: &Server) -> bool {
    server.metadata.get(tag::ROLE).is_some_and(|role| role == Role::Helper.name())
}
/// The last word of a kernel that shut down, after that of any boot.
fn ends_powered_down(console: &str) -> bool {
    let tail: Vec<&str> = console.lines().rev().take(LAST_WORDS).collect();
    tail.iter().any(|line| POWERED_DOWN.iter().any(|word| line.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_shut_down_says_so_at_the_end() {
        let end = "[  OK  ] Reached target poweroff.target\r\n[ 95.1] reboot: Power down\r\n";
        assert!(ends_powered_down(end));
        assert!(!ends_powered_down("login: "), "forced off");
        let later = format!("{end}{}", "[ 0.1] booting again\n".repeat(LAST_WORDS));
        assert!(!ends_powered_down(&later), "that was an earlier time");
    }
}
