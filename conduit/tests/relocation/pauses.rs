//! What persons hold back: pauses at every point, orders that come twice, late or in vain, and cutovers that wait.

use super::*;

fn entry(fact: Fact) -> Entry {
    Entry { at: OffsetDateTime::UNIX_EPOCH, fact }
}

fn then(state: Relocation, fact: Fact) -> Relocation {
    let next = state.next(&entry(fact)).unwrap();
    check(&next);
    next
}

fn pause(state: Relocation, order: u128) -> Relocation {
    then(state, Fact::PauseAsked { order: Uuid::from_u128(order) })
}

fn resume(state: Relocation, order: u128) -> Relocation {
    then(state, Fact::ResumeAsked { order: Uuid::from_u128(order) })
}

fn syncing(state: &Relocation) -> bool {
    state.due().iter().any(|effect| matches!(effect, Effect::Await { step: StepId::Sync(_), .. }))
}

fn stopped(code: Code) -> Failure {
    Failure::never(code, "told to stop", "nothing")
}

/// What is under way ends: a transfer as it was told, everything else well.
fn come_to_rest(mut state: Relocation) -> Relocation {
    loop {
        let ended = state.due().into_iter().find_map(|effect| match effect {
            Effect::Abort { step, epoch, .. } => {
                Some(Fact::StepFailed { step, epoch, failure: stopped(Code::Canceled), spent: None })
            }
            Effect::Run { step, epoch } | Effect::Await { step, epoch, .. } => {
                Some(Fact::StepDone { output: output(&step), step, epoch })
            }
            _ => None,
        });
        match ended {
            Some(fact) if !state.is_ended() => state = then(state, fact),
            _ => return state,
        }
    }
}

fn to_the_end(mut state: Relocation) -> Relocation {
    while !state.is_ended() {
        let fact = likely(&state, 1).remove(0);
        state = then(state, fact);
    }
    state
}

#[test]
fn a_pause_after_any_fact_holds_until_it_is_resumed_and_then_it_succeeds() {
    let (_, log) = straight(|_| false);
    for cut in 1..log.len() {
        let state = Relocation::replay(id(), &log[..cut]).unwrap();
        let too_late = state.is_committed() || state.may_a_target_run();
        let state = pause(state, 1);
        assert_eq!(state.is_paused(), !too_late, "cut after {cut} facts");
        if too_late {
            assert_eq!(phase(&to_the_end(state)), Phase::Succeeded);
            continue;
        }
        let state = come_to_rest(state);
        assert!(state.waits_for_a_person(), "cut after {cut} facts: {state:?}");
        let state = to_the_end(resume(state, 2));
        assert_eq!(phase(&state), Phase::Succeeded, "cut after {cut} facts");
        assert!(state.steps.iter().all(|step| step.failures == 0), "a pause is no failure");
    }
}

#[test]
fn a_cancel_of_what_is_paused_undoes_at_once() {
    let (_, log) = straight(|_| false);
    for cut in 1..log.len() {
        let state = pause(Relocation::replay(id(), &log[..cut]).unwrap(), 1);
        if !state.is_paused() {
            continue;
        }
        for state in [state.clone(), come_to_rest(state)] {
            if state.is_committed() {
                continue;
            }
            let state = then(state, Fact::CancelAsked);
            assert!(!state.is_paused());
            assert_eq!(phase(&to_the_end(state)), Phase::Canceled, "cut after {cut} facts");
        }
    }
}

#[test]
fn a_transfer_comes_to_rest_goes_on_under_a_higher_epoch_and_nothing_is_counted() {
    let (mut state, _) = straight(syncing);
    let step = state.steps.iter().find(|step| step.in_flight()).unwrap().id.clone();
    // More often than a step may be handed out for failures.
    for round in 0..u128::from(STEP_ISSUES_MAX) + 20 {
        state = pause(state, 2 * round);
        let held = state.step(&step).unwrap();
        assert!(matches!(held.state, State::Resting { .. }) && held.worker().is_some());
        let epoch = held.epoch;
        let abort = |effect: &Effect| matches!(effect, Effect::Abort { step: told, .. } if *told == step);
        assert!(state.due().iter().any(abort), "its worker is told to stop");
        let spent = Some(TransferProgress { bytes_total: 100, bytes_done: 60, ..Default::default() });
        let code = [Code::Canceled, Code::HandedBack, Code::LeaseLost][round as usize % 3];
        let failure = stopped(code);
        state = then(state, Fact::StepFailed { step: step.clone(), epoch, failure, spent });
        let rested = state.step(&step).unwrap();
        assert_eq!((&rested.state, rested.failures, &rested.failure), (&State::Waiting, 0, &None));
        state = resume(state, 2 * round + 1);
        let (worker, epoch) = ("w".parse().unwrap(), epoch.next());
        state = then(state, Fact::StepIssued { step: step.clone(), epoch });
        state = then(state, Fact::StepLeased { step: step.clone(), epoch, worker });
    }
    // An attempt that fails after all that is tried again as ever.
    let epoch = state.step(&step).unwrap().epoch;
    let state =
        then(state, Fact::StepFailed { step: step.clone(), epoch, failure: failure(true), spent: None });
    assert!(matches!(state.step(&step).unwrap().state, State::Retrying { .. }));
    assert_eq!(phase(&to_the_end(state)), Phase::Succeeded);
}

#[test]
fn what_is_shown_of_a_transfer_at_rest_is_how_far_it_was() {
    let (state, _) = straight(syncing);
    let state = pause(state, 1);
    let step = state.steps.iter().find(|step| matches!(step.state, State::Resting { .. })).unwrap();
    let (step, epoch) = (step.id.clone(), step.epoch);
    let spent = Some(TransferProgress { bytes_total: 100, bytes_done: 60, ..Default::default() });
    let state =
        then(state, Fact::StepFailed { step: step.clone(), epoch, failure: stopped(Code::Canceled), spent });
    let seen = Seen { revision: 0, now: OffsetDateTime::UNIX_EPOCH, stalled: false, progress: &[] };
    let shown = status(&state, &seen);
    assert_eq!(shown.conditions, ["paused"]);
    let transfer =
        shown.transfers.iter().find(|transfer| StepId::Sync(transfer.disk.clone()) == step).unwrap();
    assert_eq!((transfer.progress.bytes_done, transfer.progress.bytes_total), (60, 100));
    assert_eq!((shown.rate_bytes_per_sec, shown.eta_seconds), (None, None));
}

#[test]
fn a_resume_that_comes_before_the_worker_has_stopped_does_not_take_its_answer_for_a_failure() {
    let (state, _) = straight(syncing);
    let state = resume(pause(state, 1), 2);
    let resting: Vec<_> =
        state.steps.iter().filter(|step| matches!(step.state, State::Resting { .. })).collect();
    assert!(!resting.is_empty());
    let (step, epoch) = (resting[0].id.clone(), resting[0].epoch);
    let abort = |effect: &Effect| matches!(effect, Effect::Abort { step: told, .. } if *told == step);
    assert!(state.due().iter().any(abort), "it may not have heard yet");
    let answer =
        Fact::StepFailed { step: step.clone(), epoch, failure: stopped(Code::Canceled), spent: None };
    let state = then(state, answer);
    let issue = Effect::Issue { step, epoch: epoch.next(), wait: std::time::Duration::ZERO };
    assert!(state.due().contains(&issue), "{:?}", state.due());
    assert_eq!(phase(&to_the_end(state)), Phase::Succeeded);
}

#[test]
fn what_goes_wrong_by_itself_while_a_transfer_comes_to_rest_counts() {
    for retryable in [true, false] {
        let state = pause(straight(syncing).0, 1);
        let step = state.steps.iter().find(|step| matches!(step.state, State::Resting { .. })).unwrap();
        let (step, epoch) = (step.id.clone(), step.epoch);
        let fact = Fact::StepFailed { step: step.clone(), epoch, failure: failure(retryable), spent: None };
        let state = then(state, fact);
        assert_eq!(state.step(&step).unwrap().failures, 1);
        assert_eq!(state.is_paused(), retryable, "what turns back is not held up");
        let issued = Fact::StepIssued { step, epoch: epoch.next() };
        assert!(state.clone().next(&entry(issued)).is_err(), "no back-off ends while it is paused");
        let expected = if retryable { Phase::Succeeded } else { Phase::RolledBack };
        assert_eq!(phase(&to_the_end(come_to_rest(state))), expected);
    }
}

#[test]
fn a_transfer_that_ends_well_although_it_was_told_to_rest_is_done() {
    let state = pause(straight(syncing).0, 1);
    let step = state.steps.iter().find(|step| matches!(step.state, State::Resting { .. })).unwrap();
    let done = Fact::StepDone { step: step.id.clone(), epoch: step.epoch, output: output(&step.id) };
    let id = step.id.clone();
    assert!(then(state, done).step(&id).unwrap().is_done());
}

#[test]
fn an_order_that_is_delivered_again_is_not_followed_again() {
    let repeated = |state: &Relocation, fact: Fact| state.clone().next(&entry(fact)).is_err();
    let (paused, resumed) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let state = pause(straight(syncing).0, 1);
    assert!(repeated(&state, Fact::PauseAsked { order: paused }), "the same");
    assert!(repeated(&state, Fact::PauseAsked { order: Uuid::from_u128(7) }), "another one: it is paused");
    let state = resume(state, 2);
    assert!(repeated(&state, Fact::PauseAsked { order: paused }), "late, after it was resumed");
    assert!(repeated(&state, Fact::ResumeAsked { order: Uuid::from_u128(8) }), "it is not paused");
    let state = pause(state, 3);
    assert!(repeated(&state, Fact::ResumeAsked { order: resumed }), "late, after it was paused again");
    assert!(state.is_paused());
}

#[test]
fn a_pause_that_comes_too_late_is_recorded_once_and_shown() {
    let seen = Seen { revision: 0, now: OffsetDateTime::UNIX_EPOCH, stalled: false, progress: &[] };
    let (state, _) = straight(Relocation::is_committed);
    let state = pause(state, 1);
    assert_eq!(state.pause, Pause::TooLate);
    assert!(state.clone().next(&entry(Fact::PauseAsked { order: Uuid::from_u128(2) })).is_err());
    let told = status(&state, &seen).conditions;
    assert_eq!(told, ["past_no_return: pause was refused, the relocation is committed"]);
    assert_eq!(phase(&to_the_end(state)), Phase::Succeeded);

    let (state, _) = straight(syncing);
    let state = pause(then(state, Fact::CancelAsked), 1);
    let told = status(&state, &seen).conditions;
    assert_eq!(
        told,
        ["too_late: pause was refused, as the target may serve already, or all is being undone"]
    );
    assert_eq!(phase(&to_the_end(state)), Phase::Canceled);
}

#[test]
fn a_target_that_may_serve_already_is_not_kept_from_being_committed() {
    let verify = StepId::Verify("app".parse().unwrap());
    let verifying = |state: &Relocation| state.step(&verify).is_some_and(|step| step.in_flight());
    let committing = |state: &Relocation| state.step(&StepId::Commit).is_some_and(|step| step.in_flight());
    for state in [straight(verifying).0, straight(committing).0] {
        let state = pause(state, 1);
        assert_eq!((state.is_paused(), state.pause), (false, Pause::TooLate));
        assert_eq!(phase(&to_the_end(state)), Phase::Succeeded);
    }
}

#[test]
fn a_manual_cutover_waits_with_everything_ready_until_it_is_approved() {
    let (state, log) = straight_with(Cutover::Manual, Relocation::awaits_approval);
    for step in &state.steps {
        let early = matches!(step.id, StepId::Reserve | StepId::Rehearse(_) | StepId::Prepare(_));
        assert_eq!(step.is_done(), early, "{}", step.id);
    }
    assert_eq!(Relocation::replay(id(), &log).unwrap(), state, "also after a crash");
    let freeze = StepId::Freeze("app".parse().unwrap());
    let issued = Fact::StepIssued { step: freeze.clone(), epoch: Epoch(1) };
    assert!(state.clone().next(&entry(issued)).is_err());
    assert_eq!(phase(&to_the_end(then(state.clone(), Fact::CancelAsked))), Phase::Canceled);

    let state = then(state, Fact::CutoverApproved);
    assert!(state.clone().next(&entry(Fact::CutoverApproved)).is_err(), "once is enough");
    // What the service answers is looked at right before it stops, however long nobody approved.
    let observe = StepId::Observe("app".parse().unwrap());
    let issue = |effect: &Effect| matches!(effect, Effect::Issue { step, .. } if *step == observe);
    assert!(state.due().iter().any(issue), "{:?}", state.due());
    assert_eq!(phase(&state), Phase::FinalSync);
    assert_eq!(phase(&to_the_end(state)), Phase::Succeeded);
}

#[test]
fn an_approval_given_at_any_moment_before_counts() {
    let (_, log) = straight_with(Cutover::Manual, Relocation::awaits_approval);
    for cut in 1..=log.len() {
        let mut state = then(Relocation::replay(id(), &log[..cut]).unwrap(), Fact::CutoverApproved);
        while !state.is_ended() {
            assert_ne!(phase(&state), Phase::AwaitingCutover);
            let fact = likely(&state, 1).remove(0);
            state = then(state, fact);
        }
        assert_eq!(phase(&state), Phase::Succeeded, "approved after {cut} facts");
    }
}

#[test]
fn an_approval_where_none_is_wanted_is_nothing() {
    let approves = |state: Relocation| state.next(&entry(Fact::CutoverApproved)).is_ok();
    assert!(!approves(straight(syncing).0), "an automatic cutover");
    let (state, _) = straight_with(Cutover::Manual, Relocation::awaits_approval);
    assert!(!approves(then(state, Fact::CancelAsked)), "it is undone");
}

#[test]
fn a_pause_and_an_approval_wait_for_each_other() {
    let (state, _) = straight_with(Cutover::Manual, Relocation::awaits_approval);
    let state = then(pause(state, 1), Fact::CutoverApproved);
    assert!(state.due().is_empty(), "approved, and still paused");
    let state = pause(then(resume(state, 2), Fact::Resumed), 3);
    assert!(state.waits_for_a_person());
    assert_eq!(phase(&to_the_end(resume(state, 4))), Phase::Succeeded);
}
