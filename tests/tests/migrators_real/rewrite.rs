//! Rewriting: only what is asked for, in place, once; and all of it or nothing.

use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_migrators::Migrator;
use fluidcloud_migrators::conformance::{self, Case};
use fluidcloud_proto::Code;
use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::plan::MigratorKind::Rewrite;
use fluidcloud_proto::request::RewriteRule;
use fluidcloud_proto::task::{GuestDisk, Output, RewriteConfig, Task, Work};
use std::sync::Arc;

use crate::stage::{Stage, digest};

const CONFIG: &str = "mkdir etc/app
    printf '{\"data\": \"/mnt/volume/shop\"}\\n' > etc/app/real.json
    ln -s /etc/app/real.json etc/app.json
    chmod 640 etc/app/real.json; chown 33:1500 etc/app/real.json; setfacl -m u:1501:r etc/app/real.json
    setfattr -n user.note -v kept etc/app/real.json
    ln -s /../../../../etc/hostname etc/outside";

fn rule(file: &str, pattern: &str, replace: &str) -> RewriteRule {
    RewriteRule { file: file.into(), pattern: pattern.into(), replace: replace.into() }
}

fn order(root: &GuestDisk, rules: Vec<RewriteRule>) -> RewriteConfig {
    RewriteConfig { disks: vec![root.clone()], rules }
}

fn good() -> Vec<RewriteRule> {
    vec![rule("/etc/app.json", "/mnt/volume/(\\w+)", "/srv/$1")]
}

const LOOK: &str = "cat etc/app/real.json; stat -c '%a %u %g %i' etc/app/real.json; getfacl -n etc/app/real.json; getfattr -d etc/app/real.json; readlink etc/app.json";

#[tokio::test]
async fn a_file_is_rewritten_in_place_through_its_link() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(48, CONFIG);
    let before = stage.inside(&root.place, LOOK);
    let work = Work::RewriteConfig(order(&root, good()));
    let Output::Rewritten { files } = stage.perform(Rewrite, 1, work).await.unwrap() else { panic!() };
    assert_eq!(files[0].matches, 1);
    assert!(files[0].diff.contains("+{\"data\": \"/srv/shop\"}"), "{}", files[0].diff);
    assert_eq!(stage.inside(&root.place, LOOK), before.replace("/mnt/volume/shop", "/srv/shop"));
    assert!(stage.scraps().iter().all(|name| !name.ends_with(".qcow2")), "{:?}", stage.scraps());
}

#[tokio::test]
async fn a_rule_that_matches_nothing_changes_no_byte() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(48, CONFIG);
    let before = digest(&root.place.path);
    for (rules, code, named) in [
        (vec![good().remove(0), rule("/etc/app.json", "not in it", "x")], Code::NothingMatched, "not in it"),
        // Above the guest's root is the guest's root: this is its own /etc/hostname, which it has not.
        (vec![rule("/etc/outside", "x", "y")], Code::FileMissing, "/etc/outside"),
        (vec![rule("/etc/app.json", "(", "y")], Code::InvalidPattern, "`(`"),
    ] {
        let error = stage.perform(Rewrite, 1, Work::RewriteConfig(order(&root, rules))).await.unwrap_err();
        let failure = error.to_failure();
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(named) && !failure.retryable(), "{failure}");
        assert_eq!(digest(&root.place.path), before, "{failure}");
    }
}

/// The two states in which a kill between the work and its answer leaves the disks, made by hand.
#[tokio::test]
async fn changes_that_were_complete_when_everything_was_killed_become_real() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(48, CONFIG);
    let overlay = stage.path("root.raw.work-rewrite.qcow2");
    let done = "root.raw.work-rewrite.done".to_owned();
    let sh = |script: &str| crate::stage::sh(stage.dir.path(), script);
    let complete = "qemu-img create -q -f qcow2 -F raw -b root.raw root.raw.work-rewrite.qcow2
        qemu-io -c 'write -P 42 0 4k' root.raw.work-rewrite.qcow2";
    sh(complete);
    let recorded = r#"[{"file":"/etc/app.json","matches":7,"diff":""}]"#;
    for killed in ["before", "in the middle of"] {
        std::fs::write(format!("{}.work-rewrite.ready", root.place.path), recorded).unwrap();
        let work = Work::RewriteConfig(order(&root, good()));
        let Output::Rewritten { files } = stage.perform(Rewrite, 2, work).await.unwrap() else { panic!() };
        assert_eq!(files[0].matches, 7, "{killed} the commit: the record of the attempt is what is told");
        let bytes = std::fs::read(&root.place.path).unwrap();
        assert!(bytes[..4096].iter().all(|byte| *byte == 42), "{killed} the commit: not made real");
        assert!(
            !overlay.exists() && stage.scraps().contains(&done),
            "{killed} the commit: {:?}",
            stage.scraps()
        );
        // Half of it was written already, and the answer was lost.
        sh(complete);
        sh("qemu-io -f raw -c 'write -P 7 2k 2k' root.raw; rm root.raw.work-rewrite.done");
    }
}

/// The contract, on a real appliance.
struct Real {
    stage: Stage,
    root: GuestDisk,
    pristine: std::path::PathBuf,
}

#[async_trait]
impl Case for Real {
    fn name(&self) -> &str {
        "rewrite on a real disk"
    }

    fn migrator(&self) -> Arc<dyn Migrator> {
        self.stage.migrators.choose(Rewrite).unwrap()
    }

    fn task(&self, epoch: Epoch) -> Task {
        self.stage.task(Rewrite, epoch.0, Work::RewriteConfig(order(&self.root, good())))
    }

    async fn reset(&self) {
        std::fs::copy(&self.pristine, &self.root.place.path).unwrap();
        for scrap in self.stage.scraps() {
            std::fs::remove_file(self.stage.path(&scrap)).unwrap();
        }
    }

    async fn state(&self) -> Vec<u8> {
        self.stage.inside(&self.root.place, LOOK).into_bytes()
    }

    async fn untouched(&self) -> Vec<u8> {
        std::fs::read(&self.pristine).unwrap()
    }
}

#[tokio::test]
async fn rewriting_a_real_disk_keeps_the_contract_of_migrators() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(48, CONFIG);
    let pristine = stage.path("pristine");
    std::fs::copy(&root.place.path, &pristine).unwrap();
    // In the middle of making overlays, and of booting or the work.
    let cuts = [Duration::from_millis(300), Duration::from_secs(9)];
    conformance::check(&Real { stage, root, pristine }, &cuts).await;
}
