//! Who may call the API, and what for: a token is made for somebody with a role, and is told once. What is kept of it is a hash.

mod sessions;
mod tokens;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use sessions::{SESSION_LASTS, Sessions};
pub use tokens::{Entry, Error, NAME_CHARS_MAX, Secret, TOKENS_MAX, Tokens};

/// Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Relocates, approves, pauses, cancels.
    Operator,
    /// Also sees who did what.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| format!("there is no role `{text}`: use viewer, operator or admin"))
    }
}

/// Who calls: the name that the token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: Arc<str>,
    pub role: Role,
    /// The hash of the token: of two tokens with the same name, the one that was made later lets nobody of the earlier in.
    pub(crate) sha256: Arc<str>,
    /// What the cookie said, where it was a cookie.
    pub(crate) session: Option<Arc<str>>,
}

impl Caller {
    pub(crate) fn by_token(name: &str, role: Role, sha256: &str) -> Self {
        Self { name: name.into(), role, sha256: sha256.into(), session: None }
    }
}

/// Who is let in.
#[derive(Debug)]
pub enum Access {
    /// Everybody who reaches the API: only on loopback, and only when that was said.
    Development,
    Tokens(Tokens),
}

impl Access {
    /// Of a caller without any token.
    pub(crate) fn of_nobody(&self) -> Option<Caller> {
        match self {
            Self::Development => Some(Caller::by_token("development", Role::Admin, "")),
            Self::Tokens(_) => None,
        }
    }

    pub(crate) fn of_token(&self, token: &str) -> Result<Option<Caller>, Error> {
        match self {
            Self::Development => Ok(self.of_nobody()),
            Self::Tokens(tokens) => tokens.caller(token, time::OffsetDateTime::now_utc()),
        }
    }

    /// Whether the token is still there: tokens are revoked while sessions and streams last.
    pub(crate) fn still(&self, caller: &Caller) -> Result<bool, Error> {
        match self {
            Self::Development => Ok(true),
            Self::Tokens(tokens) => tokens.still(caller, time::OffsetDateTime::now_utc()),
        }
    }
}
