//! The helper server of a relocation: made when first needed, found again by its tag, gone when nothing is on it any more.
//! Its host key comes from its console, through the API that we trust anyway.

mod site;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fluidcloud_proto::ids::RelocationId;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::OpenstackProvider;
use super::config::HelperConfig;
use super::networks::Port;
use super::servers::{BUILD_MAX, Server};
use super::tag::{self, HOST_KEY, Role};
use super::wait::until;
use crate::config::{SiteConfig, SshConfig};
use crate::error::Error;
use crate::site::{Command, Site, SshSite};
pub(super) use site::HelperSite;

/// From its start to its host key on the console: it boots, maybe without hardware to help it.
const BOOTED_MAX: Duration = Duration::from_secs(420);
const ANSWERS_MAX: Duration = Duration::from_secs(120);
/// It has told its key by then, so that it is up: something keeps us out.
const MENDED_AFTER: Duration = Duration::from_secs(8);
const REMOVED_MAX: Duration = Duration::from_secs(120);
const SSH: u16 = 22;
/// Where a viaduct may listen; it lets nobody in but the peer whose key it was given.
const PORTS: (u16, u16) = (1024, u16::MAX);
/// Begins the line on the console.
const TOLD: &str = "fluidcloud-host-key ";
const USER_DATA: &str = include_str!("helper/user_data.sh");

fn role() -> &'static str {
    Role::Helper.name()
}

impl OpenstackProvider {
    /// The helper's site, the helper made if there is none.
    pub(super) async fn helper(&self, relocation: RelocationId) -> Result<(String, Arc<HelperSite>), Error> {
        // One at a time in this process; of two processes the older helper stays.
        let mut known = self.helpers.lock().await;
        let mut found = self.helper_servers(relocation).await?;
        if found.is_empty() {
            known.remove(&relocation);
            found = self.make_helper(relocation).await?;
        }
        let Some(server) = found.first() else { return Err(self.api.lost("the helper".into())) };
        if let Some((id, site)) = known.get(&relocation).filter(|(id, _)| *id == server.id) {
            return Ok((id.clone(), site.clone()));
        }
        let server = self.runs(&server.id).await?;
        let address = self.helper_address(relocation, &server).await?;
        let key = self.host_key(&server).await?;
        let site = Arc::new(self.site_at(self.helper_config()?, &address, &key));
        self.answers(relocation, &site).await?;
        known.insert(relocation, (server.id.clone(), site.clone()));
        Ok((server.id, site))
    }

    /// Without making one.
    pub(super) async fn standing_helper(
        &self,
        relocation: RelocationId,
    ) -> Result<Option<Arc<HelperSite>>, Error> {
        if self.helper_servers(relocation).await?.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.helper(relocation).await?.1))
    }

    /// Oldest first.
    pub(super) async fn helper_servers(&self, relocation: RelocationId) -> Result<Vec<Server>, Error> {
        let mut servers = self.api.servers().await?;
        servers.retain(|server| tag::has(&server.metadata, relocation, Role::Helper));
        servers.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(servers)
    }

    /// Ids of what it is made of, or what of that is not there.
    pub(super) async fn helper_parts(&self) -> Result<[String; 3], Error> {
        let helper = self.helper_config()?;
        let missing = |what: String| Error::Config { provider: self.id.to_string(), what };
        let image = self.api.image_named(&helper.image).await?;
        let image = image.ok_or_else(|| {
            missing(format!("there is no image `{}` for the helper: give one by name or id", helper.image))
        })?;
        let flavors = self.api.flavors().await?;
        let flavor = flavors.iter().find(|flavor| flavor.name == helper.flavor || flavor.id == helper.flavor);
        let flavor = flavor.ok_or_else(|| {
            missing(format!("there is no flavor `{}` for the helper: give one by name or id", helper.flavor))
        })?;
        let network = self.api.network_named(&helper.network).await?;
        Ok([image.id, flavor.id.clone(), network.id])
    }

    async fn make_helper(&self, relocation: RelocationId) -> Result<Vec<Server>, Error> {
        let [image, flavor, network] = self.helper_parts().await?;
        let group = self.helper_group(relocation).await?;
        let mut server = json!({
            "name": format!("fluidcloud-helper-{}", tag::label(relocation)),
            "imageRef": image,
            "flavorRef": flavor,
            "networks": [{"uuid": network}],
            "security_groups": [{"name": group}],
            "user_data": base64(self.user_data()?.as_bytes()),
            "metadata": tag::metadata(relocation, Role::Helper, &[]),
        });
        if let Some(zone) = &self.config.availability_zone {
            server["availability_zone"] = json!(zone);
        }
        let made = self.api.make_server("make the helper server", server, None).await?;
        let found = self.helper_servers(relocation).await?;
        if found.first().is_some_and(|first| first.id != made) {
            self.api.delete_server(&made).await?;
        }
        Ok(found)
    }

    async fn helper_group(&self, relocation: RelocationId) -> Result<String, Error> {
        let description = tag::description(relocation, role());
        let groups = self.api.security_groups_of(relocation).await?;
        let group = match groups.into_iter().find(|group| group.description == description) {
            Some(group) => group.id,
            None => {
                let name = format!("fluidcloud-helper-{}", tag::label(relocation));
                self.api.make_security_group(&name, &description).await?
            }
        };
        for ethertype in ["IPv4", "IPv6"] {
            // Usually there from the start: without it the helper does not come to its user data.
            let out = json!({"security_group_id": group, "direction": "egress", "ethertype": ethertype});
            self.api.make_rule(out).await?;
            self.api.let_in(&group, SSH, SSH, ethertype).await?;
            self.api.let_in(&group, PORTS.0, PORTS.1, ethertype).await?;
        }
        Ok(group)
    }

    /// One that fails to come up is removed, so that the next attempt makes another.
    async fn runs(&self, id: &str) -> Result<Server, Error> {
        until(
            || format!("the start of helper server {id}"),
            BUILD_MAX,
            || async {
                let Some(server) = self.api.server(id).await? else {
                    return Err(self.api.lost(format!("helper server {id}")));
                };
                match server.status.as_str() {
                    "ACTIVE" => Ok(Some(server)),
                    "ERROR" => {
                        self.api.delete_server(id).await?;
                        let cause = format!("it went into state ERROR: {}", server.reason()).into();
                        Err(Error::Driver {
                            provider: self.id.to_string(),
                            what: "start the helper server".to_owned(),
                            cause,
                        })
                    }
                    // Somebody, or its host, turned it off.
                    "SHUTOFF" if server.task.is_none() => {
                        self.api.act(id, "start", json!({"os-start": null})).await?;
                        Ok(None)
                    }
                    _ => Ok(None),
                }
            },
        )
        .await
    }

    async fn helper_address(&self, relocation: RelocationId, server: &Server) -> Result<String, Error> {
        let ports = self.api.ports_of_server(&server.id).await?;
        let port = ports.first().ok_or_else(|| self.api.lost("the port of the helper server".into()))?;
        let Some(outside) = &self.helper_config()?.floating_network else {
            let fixed = port.fixed_ips.first().map(|fixed| fixed.ip_address.clone());
            return fixed.ok_or_else(|| self.api.lost("the address of the helper server".into()));
        };
        let description = tag::description(relocation, role());
        if let Some(known) = self.known_address(relocation, port, &description).await? {
            return Ok(known);
        }
        let outside = self.api.network_named(outside).await?;
        match self.api.make_floating_ip(&outside.id, Some(&port.id), &description).await {
            Ok(made) => Ok(made.floating_ip_address),
            // Another caller was quicker: a port takes one.
            Err(error @ Error::Refused { status: 409, full: false, .. }) => {
                self.known_address(relocation, port, &description).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn known_address(
        &self,
        relocation: RelocationId,
        port: &Port,
        description: &str,
    ) -> Result<Option<String>, Error> {
        let floating = self.api.floating_ips_of(relocation).await?;
        let Some(floating) = floating.into_iter().find(|floating| floating.description == description) else {
            return Ok(None);
        };
        if floating.port_id.as_deref() != Some(port.id.as_str()) {
            self.api.set_floating_ip(&floating.id, Some(&port.id), description).await?;
        }
        Ok(Some(floating.floating_ip_address))
    }

    /// Kept as metadata once it was read, as a console forgets.
    async fn host_key(&self, server: &Server) -> Result<String, Error> {
        if let Some(key) = server.metadata.get(HOST_KEY) {
            return Ok(key.clone());
        }
        let key = until(
            || self.silent_helper(&server.id),
            BOOTED_MAX,
            || async { Ok(told_key(&self.api.console(&server.id).await?)) },
        )
        .await;
        if let Err(Error::TimedOut { .. }) = &key {
            // What kept it from its user data may be over, but it asks for that at its start only: the next attempt makes
            // another.
            self.api.delete_server(&server.id).await?;
        }
        let key = key?;
        self.api.set_metadata(server, &[(HOST_KEY, key.as_str())]).await?;
        Ok(key)
    }

    fn silent_helper(&self, id: &str) -> String {
        let image = self.config.helper.as_ref().map_or("?", |helper| helper.image.as_str());
        format!(
            "helper server {id} to tell its host key on the console (does image `{image}` run user data?)"
        )
    }

    fn helper_config(&self) -> Result<&HelperConfig, Error> {
        self.config.helper.as_ref().ok_or_else(|| Error::Unsupported {
            provider: self.id.to_string(),
            what: "let a disk be worked on in place: its configuration says `helper: none`".to_owned(),
            remedy: "describe a helper there".to_owned(),
        })
    }

    fn site_at(&self, helper: &HelperConfig, address: &str, key: &str) -> HelperSite {
        let login = SshConfig {
            host: address.to_owned(),
            port: SSH,
            user: helper.user.clone(),
            key: helper.key.clone(),
            known_hosts: Path::new("/dev/null").to_owned(),
        };
        let site =
            SiteConfig { ssh: None, address: address.to_owned(), dir: helper.dir.clone(), peer_ssh: None };
        let ssh = SshSite::new(self.id.clone(), &site, &login).with_host_keys(format!("{address} {key}\n"));
        HelperSite::new(ssh)
    }

    /// One that does not may have lost the rules that let us in: they are made again.
    async fn answers(&self, relocation: RelocationId, site: &HelperSite) -> Result<(), Error> {
        let hello = Command::new("true").timeout_secs(20);
        let begun = Instant::now();
        let mended = AtomicBool::new(false);
        until(
            || format!("ssh at helper {}", site.host()),
            ANSWERS_MAX,
            || async {
                match site.run(&hello).await {
                    Ok(_) => Ok(Some(())),
                    Err(Error::Unreachable { .. } | Error::TimedOut { .. }) => {
                        if begun.elapsed() >= MENDED_AFTER && !mended.swap(true, Ordering::Relaxed) {
                            self.mend(relocation).await;
                        }
                        Ok(None)
                    }
                    // sshd may be up before our key is in its place.
                    Err(error @ Error::Unauthorized { .. }) => {
                        tracing::debug!(%error, "the helper is not ready");
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            },
        )
        .await
    }

    async fn mend(&self, relocation: RelocationId) {
        if let Err(error) = self.helper_group(relocation).await {
            tracing::debug!(provider = %self.id, %error, "cannot mend the helper's security group");
        }
    }

    /// It is looked for anew by the next caller, and must answer then.
    pub(super) async fn doubt_helper(&self, relocation: RelocationId) {
        self.helpers.lock().await.remove(&relocation);
    }

    fn user_data(&self) -> Result<String, Error> {
        let helper = self.helper_config()?;
        let mut path = helper.key.clone().into_os_string();
        path.push(".pub");
        let config = |what: String| Error::Config { provider: self.id.to_string(), what };
        let key = std::fs::read_to_string(&path).map_err(|cause| {
            config(format!("cannot read {}: {cause}: put the helper key's public half there", path.display()))
        })?;
        let plain = |text: &str| !text.contains(['\'', '\n', '\\']);
        let (key, user) = (key.trim(), helper.user.as_str());
        if !plain(key) || !plain(user) {
            return Err(config(format!("{} is not one line with a public key: correct it", path.display())));
        }
        Ok(USER_DATA.replace("@KEY@", key).replace("@USER@", user))
    }

    /// With all that it came with. Nothing of it left is no error.
    pub(super) async fn drop_helper(&self, relocation: RelocationId) -> Result<(), Error> {
        self.helpers.lock().await.remove(&relocation);
        for server in self.helper_servers(relocation).await? {
            self.api.delete_server(&server.id).await?;
        }
        let description = tag::description(relocation, role());
        for floating in self.api.floating_ips_of(relocation).await? {
            if floating.description == description {
                self.api.delete_floating_ip(&floating.id).await?;
            }
        }
        for group in self.api.security_groups_of(relocation).await? {
            if group.description == description {
                self.drop_group(&group.id).await?;
            }
        }
        Ok(())
    }

    /// It is in use until Nova has given back the port.
    async fn drop_group(&self, id: &str) -> Result<(), Error> {
        until(
            || format!("the deletion of security group {id}"),
            REMOVED_MAX,
            || async {
                match self.api.delete_security_group(id).await {
                    Ok(()) => Ok(Some(())),
                    Err(Error::Refused { status: 409, .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            },
        )
        .await
    }

    /// It goes with the last disk that was on it.
    pub(super) async fn drop_idle_helper(&self, relocation: RelocationId) -> Result<(), Error> {
        let servers = self.helper_servers(relocation).await?;
        // Cinder's word: Nova's list of volumes lags behind.
        let volumes = self.api.volumes_of(relocation).await?;
        let used = |server: &Server| volumes.iter().any(|volume| volume.is_attached_to(&server.id));
        if !servers.is_empty() && !servers.iter().any(used) {
            self.drop_helper(relocation).await?;
        }
        Ok(())
    }
}

/// The last one told: the script runs at each boot.
fn told_key(console: &str) -> Option<String> {
    let line = console.lines().rev().find_map(|line| line.split_once(TOLD))?.1;
    let mut words = line.split_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    let good = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=-@.".contains(c));
    (kind.starts_with("ssh-ed25519") && key.len() >= 68 && good(kind) && good(key))
        .then(|| format!("{kind} {key}"))
}

/// User data goes so.
fn base64(bytes: &[u8]) -> Value {
    data_encoding::BASE64.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_between_other_lines() {
        let key = format!("ssh-ed25519 AAAAC3{}", "x".repeat(62));
        let console = format!("boot\r\n[ 1.0] {TOLD}{key} root@host\r\nlogin:");
        assert_eq!(told_key(&console), Some(key.clone()));
        assert_eq!(told_key("no key here"), None);
        assert_eq!(told_key(&format!("{TOLD}ssh-ed25519 AAAA")), None, "cut off: the rest is not there yet");
        let other = format!("ssh-ed25519 AAAAC3{}", "y".repeat(62));
        assert_eq!(told_key(&format!("{TOLD}{key}\n{TOLD}{other}\n")), Some(other));
    }
}
