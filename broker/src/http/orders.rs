//! What persons order over HTTP: cancel, retry, approve, pause, resume. What can be seen from here to be in vain is refused
//! with the remedy; the rest is passed on, and what the conduit refuses then is in the status.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fluidcloud_proto::bus::{Queue, publish_command};
use fluidcloud_proto::command::Control;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::status::{Phase, RelocationStatus, StepState, StepStatus};

use super::Api;
use super::problem::Problem;
use super::relocations::{Taken, confirm, find, parse_id};

pub async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let status = find(&api, parse_id(&id)?)?;
    if status.phase == Phase::Stuck {
        let failure = Failure::never(
            Code::Canceled,
            format!("relocation {} is being undone already and is stuck at it", status.id),
            format!("remove the cause that its status names, then `fluidcloud retry {}`", status.id),
        );
        return Err(Problem::new(StatusCode::CONFLICT, failure));
    }
    if status.phase.is_final() {
        return Err(ended(&status, "there is nothing left to cancel; relocate it back with a new request"));
    }
    if is_committed(&status) {
        return Err(past_no_return(&status, "let it end; then relocate it back with a new request"));
    }
    order(&api, status.id, &Control::Cancel { relocation: status.id }).await
}

pub async fn retry(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let status = find(&api, parse_id(&id)?)?;
    if status.phase != Phase::Stuck {
        return Err(ended(&status, "only a stuck relocation is tried again"));
    }
    order(&api, status.id, &Control::Retry { relocation: status.id }).await
}

pub async fn approve(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let status = find(&api, parse_id(&id)?)?;
    open(&status, "there is nothing to approve; request it again with a new id if it is to move")?;
    if is_committed(&status) {
        return Err(past_no_return(&status, "there is nothing left to approve: its cutover is done"));
    }
    order(&api, status.id, &Control::Approve { relocation: status.id }).await
}

pub async fn pause(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let status = find(&api, parse_id(&id)?)?;
    open(&status, "only one that goes forward is paused; an undo is not held up")?;
    if is_committed(&status) {
        return Err(past_no_return(&status, "let it end: the service has moved"));
    }
    let may_run =
        |step: &StepStatus| matches!(step.id, StepId::Verify(_)) && step.state != StepState::Waiting;
    if status.steps.iter().any(may_run) {
        let failure = Failure::never(
            Code::PastNoReturn,
            format!(
                "the target of relocation {} may serve already, and what it is given must not be lost",
                status.id
            ),
            "let it end, or cancel it",
        );
        return Err(Problem::new(StatusCode::CONFLICT, failure));
    }
    order(&api, status.id, &Control::Pause { relocation: status.id }).await
}

/// One that does not look paused here may be by the time the conduit hears this.
pub async fn resume(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let status = find(&api, parse_id(&id)?)?;
    open(&status, "only one that is paused is resumed")?;
    order(&api, status.id, &Control::Resume { relocation: status.id }).await
}

/// It goes forward, or will.
fn open(status: &RelocationStatus, remedy: &str) -> Result<(), Problem> {
    let turned_back = matches!(status.phase, Phase::Canceling | Phase::RollingBack);
    if turned_back || status.phase.is_final() { Err(ended(status, remedy)) } else { Ok(()) }
}

/// A commit that still runs, or is tried again, can be taken back; the conduit has the last word.
fn is_committed(status: &RelocationStatus) -> bool {
    status.steps.iter().any(|step| step.id == StepId::Commit && step.state == StepState::Done)
}

fn past_no_return(status: &RelocationStatus, remedy: &str) -> Problem {
    let message = format!("relocation {} is past the point of no return", status.id);
    Problem::new(StatusCode::CONFLICT, Failure::never(Code::PastNoReturn, message, remedy))
}

async fn order(api: &Api, id: RelocationId, control: &Control) -> Result<Response, Problem> {
    confirm(publish_command(&*api.parts.bus, &Queue::Control, control)).await?;
    tracing::info!(relocation = %id, order = ?control, "order passed on");
    Ok((StatusCode::ACCEPTED, Json(Taken { id })).into_response())
}

fn ended(status: &RelocationStatus, remedy: &str) -> Problem {
    let detail = format!("relocation {} is {:?}", status.id, status.phase);
    Problem::new(StatusCode::CONFLICT, Failure::never(Code::InvalidRequest, detail, remedy))
}
