//! The whole conduit on simulated clouds, workers and time: killed, repeated, failed and canceled at every point of a
//! relocation in turn. After each case the invariants of the design are asserted; each test prints how many it ran.

mod alone;
mod copies;
mod crashes;
mod decided;
mod failures;
mod invariants;
mod pauses;
mod points;
mod requests;
mod source;
mod undoing;
mod worker;
mod world;
mod wrapped;

use fluidcloud_conduit::Relocation;
use fluidcloud_proto::status::Phase;

use world::{Play, Script, World};

/// Runs one case on a clock of its own that waits for nothing.
fn play(case: &str, script: Script) -> (Phase, Relocation, World) {
    play_with(case, script, |_| {})
}

fn play_with(case: &str, script: Script, prepare: impl FnOnce(&World)) -> (Phase, Relocation, World) {
    simulate(async {
        let mut play = Play::new(script);
        prepare(&play.world);
        let state = play.run().await;
        let ended = invariants::hold(case, &play.world, &state).await;
        (ended, state, play.world)
    })
}

fn simulate<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// The points that an undisturbed run of this script passes.
fn points_of(script: &Script) -> Vec<String> {
    play("undisturbed", script.clone()).2.points.seen()
}
