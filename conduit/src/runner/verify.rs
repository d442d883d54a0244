//! Verify: the target starts, gets an address and answers every check. Without a check it must run and go on running
//! for a while.

use std::net::IpAddr;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, InstanceName};
use fluidcloud_proto::report::CheckReport;
use fluidcloud_proto::request::HttpCheck;
use fluidcloud_proto::topology::{Nic, Power};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::observe::{POLL, url, value, well};
use super::{Scene, call, halted, wait};
use crate::relocation::Done;
use crate::web::Answer;

/// How long a target that nothing checks must go on running.
pub const SETTLE: Duration = Duration::from_secs(10);
/// How long a service that answers well may answer another value than at the source, such as while it still loads.
pub const DIFFERS_MAX: Duration = Duration::from_secs(30);

impl Scene<'_> {
    pub(super) async fn verify(
        &self,
        component: &ComponentName,
        halt: &CancellationToken,
    ) -> Result<Done, Failure> {
        self.source_is_untouched(component).await?;
        if halt.is_cancelled() {
            return Err(halted());
        }
        let name = self.target_name(component)?;
        call("the start of the target", self.target.start(name)).await?;
        let begun = Instant::now();
        let mut pending: Vec<Pending<'_>> = self
            .checks(component)
            .into_iter()
            .map(|(number, check)| Pending::new(&check.http, self.relocation.observed(number), begun))
            .collect();
        let mut passed = Vec::new();
        let settled = if pending.is_empty() { begun + SETTLE } else { begun };
        loop {
            let addresses = call("the look for addresses", self.target.addresses(name)).await?;
            for check in &mut pending {
                self.try_check(check, component, &addresses).await;
            }
            passed.extend(pending.iter_mut().filter_map(|check| check.passed.take()));
            pending.retain(|check| check.goes_on);
            self.still_runs(name).await?;
            if pending.is_empty() && Instant::now() >= settled {
                let nics = self.nics_at_target(name).await;
                return Ok(Done::Verified { addresses, checks: passed, nics });
            }
            if let Some(late) = pending.iter().find(|check| check.is_over()) {
                return Err(self.failed(name, late));
            }
            if !wait(POLL, halt).await {
                return Err(halted());
            }
        }
    }

    /// For the report only: what serves is not undone because nobody can tell its network cards.
    async fn nics_at_target(&self, name: &InstanceName) -> Vec<Nic> {
        match call("the look at the target", self.target.inspect(name)).await {
            Ok(instance) => instance.nics,
            Err(failure) => {
                tracing::warn!(instance = %name, %failure, "its addresses are not told one by one");
                Vec::new()
            }
        }
    }

    async fn try_check(&self, check: &mut Pending<'_>, component: &ComponentName, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            check.last = "it has no address that its provider knows".to_owned();
        }
        for address in addresses {
            let url = url(*address, check.wanted);
            let answer = match self.web.get(&url).await {
                Ok(answer) => answer,
                Err(error) => {
                    check.last = error.told();
                    continue;
                }
            };
            match check.judge(&answer) {
                Ok(after) => {
                    let before = check.before.map(str::to_owned);
                    check.passed =
                        Some(CheckReport { component: component.clone(), url, before, after, passed: true });
                    check.goes_on = false;
                    return;
                }
                Err(why) => check.last = format!("{url} {why}"),
            }
        }
    }

    async fn still_runs(&self, name: &InstanceName) -> Result<(), Failure> {
        if call("the look at the target", self.target.power(name)).await? == Power::Running {
            return Ok(());
        }
        let message = format!("instance {name} at {} stopped running while it was verified", self.target_id);
        Err(Failure::never(Code::CheckFailed, message, "see its console for the reason"))
    }

    fn failed(&self, name: &InstanceName, check: &Pending<'_>) -> Failure {
        let secs = check.begun.elapsed().as_secs();
        let message = format!(
            "instance {name} at {} did not pass its check within {secs} s: {}",
            self.target_id, check.last
        );
        let remedy =
            "mend the check, give it more `within_secs`, or see what the service needs at the target";
        Failure::never(Code::CheckFailed, message, remedy)
    }
}

/// A check that has not passed yet.
struct Pending<'a> {
    wanted: &'a HttpCheck,
    before: Option<&'a str>,
    begun: Instant,
    differs_since: Option<Instant>,
    last: String,
    passed: Option<CheckReport>,
    goes_on: bool,
}

impl<'a> Pending<'a> {
    fn new(wanted: &'a HttpCheck, before: Option<&'a str>, begun: Instant) -> Self {
        let last = "it was not asked yet".to_owned();
        Self { wanted, before, begun, differs_since: None, last, passed: None, goes_on: true }
    }

    /// The value it answers now, if it has to be the same as before.
    fn judge(&mut self, answer: &Answer) -> Result<Option<String>, String> {
        well(self.wanted, answer)?;
        let Some(field) = &self.wanted.unchanged else { return Ok(None) };
        let after = value(field, answer)?;
        match self.before {
            Some(before) if before == after => Ok(Some(after)),
            Some(before) => {
                self.differs_since.get_or_insert_with(Instant::now);
                Err(format!("answers {field} = {after}, at the source it was {before}"))
            }
            None => Err(format!("has nothing of the source to hold {field} against")),
        }
    }

    fn is_over(&self) -> bool {
        let within = Duration::from_secs(self.wanted.within_secs);
        self.begun.elapsed() >= within
            || self.differs_since.is_some_and(|since| since.elapsed() >= DIFFERS_MAX)
    }
}
