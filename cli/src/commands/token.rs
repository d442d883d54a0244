//! `fluidcloud token …`: makes, lists and revokes the tokens of the API, in the state directory of the broker's host.

use fluidcloud_broker::access::{Role, Tokens};
use time::OffsetDateTime;

use crate::args::{Output, TokenArgs, TokenCommand};
use crate::config::Config;
use crate::fault::{Exit, Fault};
use crate::output;
use crate::table::Table;
use crate::tokens;

pub fn run(config: &Config, args: &TokenArgs) -> Result<(), Fault> {
    let tokens = tokens::of(config);
    let fault = |error| Fault::from_error(Exit::Usage, &error);
    match &args.command {
        TokenCommand::Create { name, role, expires } => {
            let end = |after| {
                let after = time::Duration::try_from(after).ok()?;
                OffsetDateTime::now_utc().checked_add(after)
            };
            let expires_at = match expires {
                Some(after) => Some(end(*after).ok_or_else(|| {
                    Fault::usage("--expires is beyond all calendars", "use less, such as 90d")
                })?),
                None => None,
            };
            let secret = tokens.make(name, *role, expires_at).map_err(fault)?;
            output::line(secret.reveal())
        }
        TokenCommand::List { output: Output::Json } => {
            let all = tokens.all().map_err(fault)?;
            let told: Vec<_> = all
                .iter()
                .map(|entry| {
                    serde_json::json!({
                        "name": entry.name,
                        "role": entry.role,
                        "created_at": when(entry.created_at),
                        "expires_at": entry.expires_at.map(when),
                    })
                })
                .collect();
            output::json(&told)
        }
        TokenCommand::List { output: Output::Text } => list(&tokens),
        TokenCommand::Revoke { name } => {
            tokens.revoke(name).map_err(fault)?;
            output::line(format!(
                "token {name} is revoked; sessions that began with it end with their next call"
            ))
        }
    }
}

fn list(tokens: &Tokens) -> Result<(), Fault> {
    let all = tokens.all().map_err(|error| Fault::from_error(Exit::Usage, &error))?;
    let now = OffsetDateTime::now_utc();
    let mut table = Table::new(&["NAME", "ROLE", "CREATED", "EXPIRES"]);
    for entry in &all {
        let expires = match entry.expires_at {
            None => "never".to_owned(),
            Some(at) if entry.is_over(now) => format!("{} (over)", when(at)),
            Some(at) => when(at),
        };
        table.row([entry.name.clone(), entry.role.to_string(), when(entry.created_at), expires]);
    }
    output::line(table.to_string())
}

fn when(at: OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// For the command line.
pub fn role(given: &str) -> Result<Role, String> {
    given.parse()
}
