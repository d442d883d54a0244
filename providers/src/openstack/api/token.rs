//! Logging in: the request for a token, and what comes with it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::catalog::{Catalog, is_version};
use super::entry::{Domain, Entry, Login, Project, User};
use super::secret::Secret;

/// A token with less left is renewed before it is used …
const LEFT_MIN: Duration = Duration::from_secs(300);
/// … unless tokens live that shortly at all.
const LEFT_MIN_PART: u32 = 4;

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub value: Secret,
    pub catalog: Catalog,
    /// Whose things it opens; empty when the cloud does not say.
    pub project: String,
    renew_at: OffsetDateTime,
}

impl Token {
    pub fn parse(value: Secret, body: &[u8], now: OffsetDateTime) -> Result<Self, String> {
        let Answer { token } =
            serde_json::from_slice(body).map_err(|cause| format!("its answer is no token: {cause}"))?;
        let expires = OffsetDateTime::parse(&token.expires_at, &Rfc3339)
            .map_err(|_| format!("its token expires at `{}`, which is no time", token.expires_at))?;
        let life = Duration::try_from(expires - now).unwrap_or_default();
        let renew_at = expires - LEFT_MIN.min(life / LEFT_MIN_PART);
        Ok(Self { value, catalog: token.catalog, project: token.project.id, renew_at })
    }

    pub fn is_fresh(&self, now: OffsetDateTime) -> bool {
        now < self.renew_at
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Told,
}

#[derive(Deserialize)]
struct Told {
    expires_at: String,
    #[serde(default)]
    catalog: Catalog,
    #[serde(default)]
    project: Scope,
}

#[derive(Default, Deserialize)]
struct Scope {
    #[serde(default)]
    id: String,
}

/// Where tokens are asked for.
pub(super) fn url(entry: &Entry) -> String {
    let base = entry.auth_url.trim_end_matches('/');
    // Some give the version that is no longer there.
    let base = base.strip_suffix("/v2.0").unwrap_or(base);
    if base.rsplit('/').next().is_some_and(is_version) {
        format!("{base}/auth/tokens")
    } else {
        format!("{base}/v3/auth/tokens")
    }
}

pub(super) fn body(login: &Login) -> Value {
    match login {
        Login::Password { user: who, password, project } => {
            let mut user = user(who);
            user["password"] = json!(password.reveal());
            json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": scope(project)},
            }})
        }
        // It brings its project with it: a scope is refused.
        Login::ApplicationCredential { id, name, user: who, secret } => {
            let mut credential = match id {
                Some(id) => json!({"id": id}),
                None => json!({"name": name, "user": user(who)}),
            };
            credential["secret"] = json!(secret.reveal());
            let methods = ["application_credential"];
            json!({"auth": {"identity": {"methods": methods, "application_credential": credential}}})
        }
    }
}

fn user(User { id, name, domain }: &User) -> Value {
    match id {
        Some(id) => json!({"id": id}),
        None => json!({"name": name, "domain": of_domain(domain)}),
    }
}

fn scope(Project { id, name, domain }: &Project) -> Value {
    match id {
        Some(id) => json!({"id": id}),
        None => json!({"name": name, "domain": of_domain(domain)}),
    }
}

fn of_domain(Domain { id, name }: &Domain) -> Value {
    match (id, name) {
        (Some(id), _) => json!({"id": id}),
        (None, name) => json!({"name": name}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    #[test]
    fn it_is_renewed_before_it_ends() {
        let body = br#"{"token": {"expires_at": "2026-11-21T15:00:00.000000Z", "project": {"id": "p"}}}"#;
        let token = Token::parse(Secret::new("t"), body, at("2026-11-21T14:00:00Z")).unwrap();
        assert!(token.is_fresh(at("2026-11-21T14:54:59Z")) && !token.is_fresh(at("2026-11-21T14:55:01Z")));
        let short = Token::parse(Secret::new("t"), body, at("2026-11-21T14:59:00Z")).unwrap();
        assert!(short.is_fresh(at("2026-11-21T14:59:40Z")) && !short.is_fresh(at("2026-11-21T14:59:50Z")));
        assert!(Token::parse(Secret::new("t"), b"{}", at("2026-11-21T14:00:00Z")).is_err());
    }

    #[test]
    fn names_come_with_their_domain_and_ids_without() {
        let domain = Domain { id: Some("default".into()), name: None };
        let user = User { id: None, name: Some("u".into()), domain: domain.clone() };
        let project = Project { id: Some("p".into()), name: None, domain };
        let login = Login::Password { user: user.clone(), password: Secret::new("x"), project };
        let asked = body(&login);
        let found = &asked["auth"]["identity"]["password"]["user"];
        assert_eq!(*found, json!({"name": "u", "domain": {"id": "default"}, "password": "x"}));
        assert_eq!(asked["auth"]["scope"], json!({"project": {"id": "p"}}));

        let login =
            Login::ApplicationCredential { id: None, name: Some("c".into()), user, secret: Secret::new("s") };
        let asked = body(&login);
        assert_eq!(asked["auth"].get("scope"), None);
        let found = &asked["auth"]["identity"]["application_credential"];
        assert_eq!(
            *found,
            json!({"name": "c", "secret": "s", "user": {"name": "u", "domain": {"id": "default"}}})
        );
    }
}
