//! What fails is taken back: the target's project is as it was found, and the source runs.

use fluidcloud_tests::openstack::{Clouds, ENDS_WITHIN, Server};
use fluidcloud_tests::stack::Stack;

use crate::between::{application, request, state_at};
use crate::timed::Timed;

#[test]
fn a_target_that_does_not_pass_its_check_is_taken_back_and_the_source_runs_again() {
    let _timed = Timed::new("a target that does not pass");
    let Some(clouds) = Clouds::open() else { return };
    clouds.b.open_group();
    let stack = Stack::embedded_with(&clouds.config());
    let server = Server { volume: Some(None), script: application(), ..Server::new("story-undone") };
    let (id, address) = clouds.a.make_server(&server);
    let before = state_at(&address);
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());
    let strict = request(&server.name).replace("unchanged: state", "contains: nowhere, within_secs: 20");

    let status = stack.ended_within(&stack.relocate(&strict), ENDS_WITHIN);
    assert_eq!(status["phase"], "RolledBack", "{status:#}");
    assert_eq!(status["failure"]["code"], "check_failed", "{status:#}");
    assert_eq!(clouds.b.listing(), listed_b, "the target's project is as it was found");
    assert_eq!(clouds.a.listing(), listed_a, "and so is the source's");
    assert_eq!(clouds.a.power(&id), "ACTIVE");
    assert_eq!(state_at(&address), before);
}
