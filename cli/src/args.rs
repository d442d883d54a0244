//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use fluidcloud_broker::access::Role;
use fluidcloud_proto::ids::{InstanceName, ProviderId, RelocationId, WorkerId};
use fluidcloud_proto::plan::MigratorKind;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed or rolled back, 2 wrong usage, configuration or request, \
3 stuck (a person must act), 4 canceled, 5 nobody answers in time.";

/// Relocates cloud service instances from one provider to another.
#[derive(Debug, Parser)]
#[command(name = "fluidcloud", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Args {
    /// Configuration; ./fluidcloud.yaml, then /etc/fluidcloud/fluidcloud.yaml when left out.
    #[arg(long, global = true, value_name = "FILE", env = "FLUIDCLOUD_CONFIG")]
    pub config: Option<PathBuf>,
    /// What is logged to standard error, such as `info` or `fluidcloud_conduit=debug,warn`.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG")]
    pub log: Option<String>,
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

/// For what is a table, which spreadsheets want too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableOutput {
    #[default]
    Text,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AddressFormat {
    Json,
    Csv,
    /// Lines for /etc/hosts: names on the new addresses, the old ones in comments.
    Hosts,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in this process: conduit, broker and workers, over memory or `bus.amqp`.
    Up(UpArgs),
    /// Run the conduit: accepts requests and drives relocations. Needs `bus.amqp`.
    Conduit,
    /// Run the broker: offers, workers and the HTTP API. Needs `bus.amqp`.
    Broker(BrokerArgs),
    /// Run a worker. Needs `bus.amqp`.
    Migrator(MigratorArgs),
    /// Show the configured providers and what is free there.
    Providers(OutputArgs),
    /// Show what runs at a provider, some instances of it, or the service of a request file: what it is made of, what it
    /// stands in, and the concerns about moving it.
    Inspect(InspectArgs),
    /// Show what a relocation would do, without doing it: steps, bytes, estimated time.
    Plan(PlanArgs),
    /// Ask for a relocation.
    Relocate(RelocateArgs),
    /// Show relocations, workers, providers and queues, or one relocation.
    Status(StatusArgs),
    /// Show which address of a relocated service became which.
    Addresses(AddressesArgs),
    /// Show what stands at the target of a relocation now, read back from its provider: server, addresses, groups, volumes, key
    /// pair, and what was kept.
    Overview(OverviewArgs),
    /// Download the private half of a key pair that a relocation created. Each can be had once.
    Key(KeyArgs),
    /// Show what instances have used, by their provider's own accounting.
    Usage(UsageArgs),
    /// Undo a relocation and start the source again.
    Cancel(CancelArgs),
    /// Try a stuck relocation again, after its cause was removed.
    Retry(OrderArgs),
    /// Let the source of a relocation with `cutover: manual` stop, now or as soon as all is ready.
    Approve(OrderArgs),
    /// Hold a relocation: transfers come to rest, nothing more is begun, and all that is there stays.
    Pause(OrderArgs),
    /// Let a paused relocation go on where it was.
    Resume(OrderArgs),
    /// Show what happened, one JSON object per line.
    Events(EventsArgs),
    /// Make, list and revoke tokens of the HTTP API, on the host of the broker.
    Token(TokenArgs),
    /// Print the JSON Schema of a document.
    Schema(SchemaArgs),
}

#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Let everybody on this host use the HTTP API without a token. Only on loopback.
    #[arg(long)]
    pub development: bool,
}

#[derive(Debug, clap::Args)]
pub struct BrokerArgs {
    /// Let everybody on this host use the HTTP API without a token. Only on loopback.
    #[arg(long)]
    pub development: bool,
    /// Start no workers: all are started by hand.
    #[arg(long)]
    pub no_workers: bool,
}

#[derive(Debug, clap::Args)]
pub struct MigratorArgs {
    /// image, volume, rewrite, object; those of `workers.kinds` when left out.
    pub kinds: Vec<MigratorKind>,
    /// Providers at whose site it works; all configured ones when left out.
    #[arg(long = "site", value_name = "SITE")]
    pub sites: Vec<ProviderId>,
    /// Tasks done at the same time.
    #[arg(long)]
    pub slots: Option<u32>,
    /// The name it goes by; made new when left out.
    #[arg(long, value_name = "ID")]
    pub worker: Option<WorkerId>,
    /// End when standard input is closed: whoever started it has died.
    #[arg(long)]
    pub die_with_stdin: bool,
}

#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    #[arg(long, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// A provider, or a request file.
    #[arg(value_name = "PROVIDER|FILE")]
    pub what: String,
    /// All of the provider when left out.
    #[arg(value_name = "INSTANCE")]
    pub instances: Vec<InstanceName>,
    /// Print a request that would move them, to be edited and given to `relocate`.
    #[arg(long, conflicts_with = "output")]
    pub request: bool,
    #[arg(long, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The request, YAML or JSON; `-` for standard input.
    pub file: PathBuf,
    /// Try on the running source what would be changed inside its guests, and show it. Changes nothing.
    #[arg(long)]
    pub rehearse: bool,
    #[arg(long, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct RelocateArgs {
    /// The request, YAML or JSON; `-` for standard input.
    pub file: PathBuf,
    /// Follow it to its end and print the report.
    #[arg(long)]
    pub wait: bool,
    #[arg(long, default_value = "text")]
    pub output: Output,
    /// Also write the report as JSON into this file.
    #[arg(long, value_name = "FILE", requires = "wait")]
    pub report: Option<PathBuf>,
    /// Also write which address became which into this file: as JSON if its name ends with .json, as CSV with .csv, else as
    /// lines for /etc/hosts.
    #[arg(long, value_name = "FILE", requires = "wait")]
    pub addresses: Option<PathBuf>,
    /// Stop waiting after so long, such as `90s`, `30m` or `2h`. The relocation goes on.
    #[arg(long, value_parser = duration, requires = "wait")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    pub id: Option<RelocationId>,
    /// Show it anew as it changes; with an id, until that relocation has ended.
    #[arg(long)]
    pub watch: bool,
    #[arg(long, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct AddressesArgs {
    #[arg(value_name = "RELOCATION")]
    pub id: RelocationId,
    #[arg(long, default_value = "hosts")]
    pub format: AddressFormat,
}

#[derive(Debug, clap::Args)]
pub struct OverviewArgs {
    #[arg(value_name = "RELOCATION")]
    pub id: RelocationId,
    #[arg(long, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    #[arg(value_name = "RELOCATION")]
    pub id: RelocationId,
    /// The key pair's name, or its component, where there are several.
    pub name: Option<String>,
    /// Write it into this file, which only you can read; it must not be there yet. To standard output when left out.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct UsageArgs {
    /// A provider, or a relocation, for the instances that it moved.
    #[arg(value_name = "PROVIDER|RELOCATION")]
    pub what: String,
    /// One instance of the provider; all when left out.
    pub instance: Option<InstanceName>,
    /// From this moment, such as `2026-11-01` or `2026-11-01T08:00:00Z`; since each was made when left out.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<OffsetDateTime>,
    /// To this moment; now when left out.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<OffsetDateTime>,
    #[arg(long, default_value = "text")]
    pub output: TableOutput,
}

#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    pub id: RelocationId,
    /// Wait until everything is undone and the source runs again.
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    pub id: RelocationId,
}

#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on.
    #[arg(long)]
    pub follow: bool,
}

#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it. It is told this once; what is kept is a hash.
    Create {
        /// For whom: the name that the audit log has.
        name: String,
        /// viewer looks; operator relocates, approves, pauses, cancels; admin also sees who did what.
        #[arg(long, value_parser = crate::commands::token::role)]
        role: Role,
        /// How long it lets in, such as `12h` or `90d`; until it is revoked when left out.
        #[arg(long, value_parser = duration)]
        expires: Option<Duration>,
    },
    /// Show whose tokens there are.
    List {
        #[arg(long, default_value = "text")]
        output: Output,
    },
    /// Let in nobody with it any more.
    Revoke { name: String },
}

#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// Which document; all names are listed when it is not known.
    pub name: String,
}

fn duration(given: &str) -> Result<Duration, String> {
    let (number, unit) = given.split_at(given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len()));
    let number: u64 = number.parse().map_err(|_| "use a number with s, m, h or d, such as 30m".to_owned())?;
    let secs = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(format!("unknown unit `{unit}`: use s, m, h or d, such as 30m")),
    };
    Ok(Duration::from_secs(number.saturating_mul(secs)))
}

fn moment(given: &str) -> Result<OffsetDateTime, String> {
    if let Ok(day) = Date::parse(given, format_description!("[year]-[month]-[day]")) {
        return Ok(day.midnight().assume_utc());
    }
    OffsetDateTime::parse(given, &Rfc3339).map_err(|_| {
        "use a day such as 2026-11-01, or a time with its zone such as 2026-11-01T08:00:00Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert!(duration("2 weeks").is_err());
        assert!(duration("h").is_err());
    }

    #[test]
    fn moments_are_days_or_have_a_zone() {
        assert_eq!(moment("2026-11-01"), moment("2026-11-01T01:00:00+01:00"));
        assert!(moment("2026-11-01T08:00:00").is_err());
        assert!(moment("yesterday").is_err());
    }
}
