//! The migrator of kind `rewrite`: regular expressions on files inside the guest, at the target on the copied disks. Before
//! that, at the source, it rehearses all that is to be done inside the guest.

pub mod diff;
mod mask;
pub mod rules;

use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::request::RewriteRule;
use fluidcloud_proto::task::{FileDiff, GuestDisk, Output, Rehearsed, RewriteConfig, Task, Work};
use fluidcloud_providers::{Moment, Registry, Site};

use crate::binary::ViaductBinary;
use crate::guest::{self, Desk, Drive, Guest, Purpose, Session};
use crate::migrator::{Context, Migrator, name_of, open, open_source};
use crate::rehearse::{is_nothing, rehearse};
use rules::Rewritten;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("rule for {file}: `{pattern}` is not a regular expression")]
    InvalidPattern {
        file: String,
        pattern: String,
        #[source]
        cause: Box<regex::Error>,
    },
    #[error("rule for {file}: `{pattern}` matches nothing in it")]
    NothingMatched { file: String, pattern: String },
    #[error("file {file} is not in the guest")]
    FileMissing { file: String },
    #[error("file {file} is not text in UTF-8")]
    NotText { file: String },
    #[error("file {file} would have {bytes} bytes, more than the {max} that a rule may make of it")]
    Grown { file: String, bytes: u64, max: u64 },
}

impl Error {
    pub fn to_failure(&self) -> Failure {
        let (code, remedy) = match self {
            Self::InvalidPattern { .. } => (
                Code::InvalidPattern,
                "write it in the syntax of the Rust `regex` crate; backslashes are doubled in JSON",
            ),
            Self::NothingMatched { .. } => (
                Code::NothingMatched,
                "compare it with the file in the guest (`(?m)` makes ^ and $ match at lines), or drop the rule",
            ),
            Self::FileMissing { .. } => {
                (Code::FileMissing, "name a regular file by its absolute path in the guest")
            }
            Self::NotText { .. } => (Code::GuestUnsupported, "rewrite text files only"),
            Self::Grown { .. } => (Code::InvalidPattern, "write a pattern that matches less often"),
        };
        Failure::never(code, crate::error::chain(self), remedy)
    }
}

#[derive(Clone, Debug)]
pub struct RewriteMigrator {
    registry: Arc<Registry>,
    viaduct: ViaductBinary,
}

impl RewriteMigrator {
    pub fn new(registry: Arc<Registry>, viaduct: ViaductBinary) -> Self {
        Self { registry, viaduct }
    }

    async fn open(&self, task: &Task, disks: &[GuestDisk], purpose: Purpose) -> Result<Desk, crate::Error> {
        let provider = self.registry.get(&task.site)?;
        let places: Vec<_> = disks.iter().map(|disk| &disk.place).collect();
        let (relocation, at) = (task.key.relocation, places.iter().copied());
        let site = match purpose {
            Purpose::Look => open_source(&*provider, relocation, at, Moment::Running).await?,
            Purpose::Change(_) => open(&*provider, relocation, at, Moment::Stopped).await?,
        };
        Desk::open(&*provider, site, &places, purpose, &self.viaduct).await
    }
}

#[async_trait]
impl Migrator for RewriteMigrator {
    fn kind(&self) -> MigratorKind {
        MigratorKind::Rewrite
    }

    async fn perform(&self, task: &Task, _context: &Context) -> Result<Output, crate::Error> {
        match &task.work {
            Work::RehearseGuest(order) => {
                // Disks that nothing is looked for on need not be at hand.
                if is_nothing(order) {
                    return Ok(Output::Rehearsed(Rehearsed::default()));
                }
                let desk = self.open(task, &order.disks, Purpose::Look).await?;
                Ok(Output::Rehearsed(rehearse(&desk.site, order).await?))
            }
            Work::RewriteConfig(order) => {
                rules::compile(&order.rules)?;
                if order.rules.is_empty() {
                    return Ok(Output::Rewritten { files: Vec::new() });
                }
                let desk = self.open(task, &order.disks, Purpose::Change(task.key.epoch)).await?;
                let files = rewrite(&desk.site, order, task.key.epoch).await?;
                Ok(Output::Rewritten { files })
            }
            other => Err(crate::Error::WrongWork { kind: self.kind(), work: name_of(other) }),
        }
    }

    async fn halt(&self, task: &Task) -> Result<(), crate::Error> {
        match &task.work {
            Work::RewriteConfig(order) => {
                let provider = self.registry.get(&task.site)?;
                match provider.opened(task.key.relocation).await? {
                    Some(site) => {
                        Ok(work(&Desk::records(&*provider, site), order, task.key.epoch)?.halt().await?)
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

async fn rewrite(
    site: &Arc<dyn Site>,
    order: &RewriteConfig,
    epoch: Epoch,
) -> Result<Vec<FileDiff>, crate::Error> {
    let work = work(site, order, epoch)?;
    if let Some(earlier) = work.earlier().await? {
        return Ok(earlier);
    }
    let mut session = work.open().await?;
    Guest::mount(&mut session, &order.disks).await?;
    let rewritten = rewritten(&mut session, &order.rules).await?;
    for file in rewritten.iter().filter(|file| file.before != file.after) {
        session.write(&file.path, file.after.as_bytes()).await?;
    }
    let diffs: Vec<_> = rewritten.iter().map(Rewritten::to_diff).collect();
    work.seal(session, &diffs).await?;
    Ok(diffs)
}

/// What the rules make of the files of the mounted guest; nothing is written.
pub(crate) async fn rewritten(
    session: &mut Session,
    rules: &[RewriteRule],
) -> Result<Vec<Rewritten>, crate::Error> {
    let files = rules::files(rules);
    let contents = session.read_all(&files).await?;
    let mut originals = Vec::new();
    for (file, content) in files.into_iter().zip(contents) {
        let content = content.ok_or_else(|| Error::FileMissing { file: file.clone() })?;
        originals.push((file, content));
    }
    Ok(rules::apply(rules, &originals)?)
}

fn work(site: &Arc<dyn Site>, order: &RewriteConfig, epoch: Epoch) -> Result<guest::Work, guest::Error> {
    guest::Work::new(site, "rewrite", epoch, drives(order))
}

fn drives(order: &RewriteConfig) -> Vec<Drive> {
    order.disks.iter().map(|disk| Drive { place: disk.place.clone(), read_only: disk.staging }).collect()
}
