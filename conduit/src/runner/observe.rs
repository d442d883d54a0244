//! What the service answers: asked at the source before it stops, and judged at the target.

use std::net::IpAddr;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::ComponentName;
use fluidcloud_proto::request::{Check, HttpCheck};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Scene, call, halted, wait};
use crate::relocation::{Done, Observation};
use crate::web::Answer;

/// How long the source, which runs, may take to give a good answer.
const OBSERVE_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
pub(super) const POLL: Duration = Duration::from_secs(1);

impl<'a> Scene<'a> {
    pub(super) fn checks(&self, component: &ComponentName) -> Vec<(usize, &'a Check)> {
        let checks = self.relocation.request.verify.iter().enumerate();
        checks.filter(|(_, check)| check.component == *component).collect()
    }

    pub(super) async fn observe(
        &self,
        component: &ComponentName,
        halt: &CancellationToken,
    ) -> Result<Done, Failure> {
        let mut values = Vec::new();
        for (check, wanted) in self.checks(component) {
            if let Some(field) = &wanted.http.unchanged {
                let value = self.observe_one(component, &wanted.http, field, halt).await?;
                values.push(Observation { check, value });
            }
        }
        Ok(Done::Observed { values })
    }

    async fn observe_one(
        &self,
        component: &ComponentName,
        check: &HttpCheck,
        field: &str,
        halt: &CancellationToken,
    ) -> Result<String, Failure> {
        let name = self.source_name(component)?;
        let deadline = Instant::now() + OBSERVE_MAX;
        let mut last = format!("instance {name} has no address that its provider knows");
        loop {
            let mut addresses = call("the look for addresses", self.source.addresses(name)).await?;
            if addresses.is_empty() {
                addresses = self.relocation.placed(component)?.instance.addresses.clone();
            }
            for address in addresses {
                let url = url(address, check);
                match self.web.get(&url).await.map_err(|error| error.told()).and_then(|answer| {
                    well(check, &answer)
                        .and_then(|()| value(field, &answer))
                        .map_err(|why| format!("{url} {why}"))
                }) {
                    Ok(value) => return Ok(value),
                    Err(why) => last = why,
                }
            }
            if Instant::now() >= deadline {
                let message = format!("the source gives no answer to hold the target against: {last}");
                let remedy = "mend the service or the check, then request the relocation again";
                return Err(Failure::never(Code::CheckFailed, message, remedy));
            }
            if !wait(POLL, halt).await {
                return Err(halted());
            }
        }
    }
}

pub(super) fn url(address: IpAddr, check: &HttpCheck) -> String {
    let slash = if check.path.starts_with('/') { "" } else { "/" };
    match address {
        IpAddr::V4(v4) => format!("http://{v4}:{}{slash}{}", check.port, check.path),
        IpAddr::V6(v6) => format!("http://[{v6}]:{}{slash}{}", check.port, check.path),
    }
}

/// The status and the text are as asked; the error completes `URL …`.
pub(super) fn well(check: &HttpCheck, answer: &Answer) -> Result<(), String> {
    if answer.status != check.status {
        return Err(format!("answers {}, not {}", answer.status, check.status));
    }
    match &check.contains {
        Some(text) if !String::from_utf8_lossy(&answer.body).contains(text.as_str()) => {
            Err(format!("answers without `{text}`"))
        }
        _ => Ok(()),
    }
}

/// The value of a top-level field, as text.
pub(super) fn value(field: &str, answer: &Answer) -> Result<String, String> {
    let json: serde_json::Value =
        serde_json::from_slice(&answer.body).map_err(|error| format!("does not answer JSON: {error}"))?;
    match json.get(field) {
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        Some(other) => Ok(other.to_string()),
        None => Err(format!("answers JSON without the field `{field}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HttpCheck {
        HttpCheck {
            port: 8080,
            path: "/digest".into(),
            status: 200,
            contains: Some("ok".into()),
            unchanged: Some("digest".into()),
            within_secs: 5,
        }
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.into() }
    }

    #[test]
    fn an_answer_is_well_when_status_and_text_are_as_asked() {
        assert_eq!(well(&check(), &answer(200, "it is ok")), Ok(()));
        assert_eq!(well(&check(), &answer(500, "ok")), Err("answers 500, not 200".into()));
        assert_eq!(well(&check(), &answer(200, "no")), Err("answers without `ok`".into()));
    }

    #[test]
    fn the_value_of_a_field_is_compared_as_text_whatever_its_type() {
        assert_eq!(value("digest", &answer(200, r#"{"digest":"ab"}"#)), Ok("ab".into()));
        assert_eq!(value("digest", &answer(200, r#"{"digest":17}"#)), Ok("17".into()));
        assert!(value("digest", &answer(200, r#"{"other":17}"#)).unwrap_err().contains("`digest`"));
        assert!(value("digest", &answer(200, "<html>")).unwrap_err().contains("JSON"));
    }

    #[test]
    fn an_address_of_version_six_is_bracketed_and_a_path_begins_with_a_slash() {
        let mut check = check();
        check.path = "digest".into();
        assert_eq!(url("fd00::1".parse().unwrap(), &check), "http://[fd00::1]:8080/digest");
        assert_eq!(url("10.0.0.1".parse().unwrap(), &check), "http://10.0.0.1:8080/digest");
    }
}
