//! A conversation with guestfish at a site: one appliance, many questions. Dropping it ends the appliance; what was
//! changed is thrown away unless it is committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};
use fluidcloud_providers::{Command, Line, Running, Site};
use tokio::time::{Instant, timeout_at};

use super::fish::{Answer, Cutter, Fish};
use super::{Error, work};

/// Under emulation on a busy host an appliance takes a minute.
const LAUNCH: Duration = Duration::from_secs(300);
/// Any command that is not known to take long.
const ANSWER: Duration = Duration::from_secs(180);
/// Largest file read out of a guest.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Lines kept of an appliance that does not start.
const SAID_LINES_MAX: usize = 5;

/// A disk of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    pub place: DiskPlace,
    /// The appliance writes to a throw-away overlay, so that even a journal can be replayed; the disk stays as it is.
    pub read_only: bool,
}

#[derive(Debug)]
pub struct Session {
    site: Arc<dyn Site>,
    dir: PathBuf,
    running: Running,
    cutter: Cutter,
    round: u32,
    uploads: u32,
}

/// A fresh directory for one session; made by the script, removed by it.
pub(super) fn new_dir(site: &dyn Site) -> String {
    let name = uuid::Uuid::new_v4().simple().to_string();
    site.dir().join("sessions").join(name).to_string_lossy().into_owned()
}

impl Session {
    /// Looks at disks that may be in use. Nothing can be changed.
    pub async fn look(site: &Arc<dyn Site>, drives: &[Drive]) -> Result<Self, Error> {
        let dir = new_dir(&**site);
        let drives: Vec<_> = drives.iter().map(|drive| Drive { read_only: true, ..drive.clone() }).collect();
        let command = work::script(&["look", "look", "0", "-", &dir]);
        Self::start(site, &dir, command, &drives).await
    }

    pub(super) async fn start(
        site: &Arc<dyn Site>,
        dir: &str,
        command: Command,
        drives: &[Drive],
    ) -> Result<Self, Error> {
        let mark = format!("#{}", uuid::Uuid::new_v4().simple());
        let running = site.start(&command).await?;
        let mut session = Self {
            site: site.clone(),
            dir: PathBuf::from(dir),
            running,
            cutter: Cutter::new(mark),
            round: 0,
            uploads: 0,
        };
        let mut commands: Vec<_> = drives.iter().map(add_drive).collect();
        commands.push(Fish::new(&["run"]));
        let answers = session.ask_for(&commands, LAUNCH).await.map_err(|error| match error {
            Error::Died { host, status, said } => Error::NoAppliance { host, status, said },
            other => other,
        })?;
        for (command, answer) in commands.iter().zip(answers) {
            if let Err(said) = answer {
                let said = format!("{command}: {said}");
                return Err(Error::NoAppliance { host: session.host(), status: None, said });
            }
        }
        Ok(session)
    }

    pub fn host(&self) -> String {
        self.site.host().to_owned()
    }

    /// Asks in order; every command is answered, also after one that failed.
    pub async fn ask(&mut self, commands: &[Fish]) -> Result<Vec<Answer>, Error> {
        self.ask_for(commands, ANSWER).await
    }

    /// All must succeed; the first that did not is the error.
    pub async fn run(&mut self, commands: &[Fish]) -> Result<Vec<String>, Error> {
        self.run_for(commands, ANSWER).await
    }

    /// Same, for what may take longer.
    pub async fn run_for(&mut self, commands: &[Fish], each: Duration) -> Result<Vec<String>, Error> {
        let answers = self.ask_for(commands, each).await?;
        let told = |(command, answer): (&Fish, Answer)| {
            answer.map_err(|said| Error::Fish { host: self.host(), command: command.to_string(), said })
        };
        commands.iter().zip(answers).map(told).collect()
    }

    /// The content of a file; `None` when there is none.
    pub async fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.read_all(&[path.to_owned()]).await?.remove(0))
    }

    /// Several at once: a question costs a round trip. Links are followed inside the guest only.
    pub async fn read_all(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let look = |path: &String| {
            let is_file = Fish::new(&["is-file", path]).option("followsymlinks:true");
            [is_file, Fish::new(&["realpath", path]), Fish::new(&["filesize", path])]
        };
        let answers = self.ask(&paths.iter().flat_map(look).collect::<Vec<_>>()).await?;
        let mut asked = Vec::new();
        let mut there = Vec::new();
        for (path, look) in paths.iter().zip(answers.chunks(3)) {
            let [Ok(is_file), Ok(real), Ok(size)] = look else {
                there.push(false);
                continue;
            };
            there.push(is_file == "true");
            if is_file != "true" {
                continue;
            }
            let bytes = size.trim().parse().unwrap_or(u64::MAX);
            if bytes > FILE_BYTES_MAX {
                return Err(Error::TooLarge { path: path.clone(), bytes, max: FILE_BYTES_MAX });
            }
            // Only a path without links is read, as this command would follow them out of the guest.
            asked.push(Fish::new(&["base64-out", real]).option("-"));
        }
        let mut contents = self.run(&asked).await?.into_iter();
        let mut decoded = Vec::new();
        for (path, there) in paths.iter().zip(&there) {
            let content = if *there { contents.next() } else { None };
            let bytes = content.map(|text| BASE64.decode(text.replace('\n', "").as_bytes())).transpose();
            decoded.push(bytes.map_err(|error| Error::Fish {
                host: self.host(),
                command: format!("base64-out {path}"),
                said: error.to_string(),
            })?);
        }
        Ok(decoded)
    }

    /// Writes into the file as it is: inode, owner, mode, ACL and attributes stay; a new one is made with mode 0644.
    pub async fn write(&mut self, path: &str, content: &[u8]) -> Result<(), Error> {
        self.uploads += 1;
        let local = self.dir.join(format!("upload-{}", self.uploads));
        self.site.put_bytes(content, &local, 0o600).await?;
        let known = self.run(&[Fish::new(&["exists", path])]).await?;
        let mut commands = vec![Fish::new(&["upload", &text(&local), path])];
        if known[0] != "true" {
            commands.push(Fish::new(&["chmod", "0644", path]));
        }
        self.run(&commands).await.map(drop)
    }

    /// Unmounts and ends the appliance, then makes the overlays real with `record` as the result.
    pub(super) async fn commit(mut self, record: &[u8], commit_secs: u64) -> Result<(), Error> {
        self.run(&[Fish::new(&["umount-all"]), Fish::new(&["sync"]), Fish::new(&["shutdown"])]).await?;
        self.site.put_bytes(record, &self.dir.join("result"), 0o600).await?;
        self.feed("quit\n").await?;
        let until = Instant::now() + Duration::from_secs(commit_secs);
        let mut said = Vec::new();
        let mut committed = false;
        loop {
            let line = timeout_at(until, self.running.next()).await;
            let line = line.map_err(|_| self.timed_out("commit", commit_secs))?;
            match line {
                Some(Line::Stdout(line)) => committed |= line == "committed",
                Some(Line::Stderr(line)) => keep(&mut said, line),
                Some(Line::Exit(Some(0))) if committed => return Ok(()),
                Some(Line::Exit(status)) => return Err(self.died(status, said)),
                None => return Err(self.lost(said)),
            }
        }
    }

    /// Asks with a bound for each command.
    async fn ask_for(&mut self, commands: &[Fish], each: Duration) -> Result<Vec<Answer>, Error> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mark = self.cutter.mark().to_owned();
        let round: String =
            commands.iter().map(|command| format!("{}echo {mark}\n", command.fed())).collect();
        self.feed(&round).await?;
        let mut answers = Vec::new();
        for command in commands {
            let until = Instant::now() + each;
            let answer = timeout_at(until, self.answer()).await;
            answers.push(answer.map_err(|_| self.timed_out(&command.to_string(), each.as_secs()))??);
        }
        Ok(answers)
    }

    async fn feed(&mut self, round: &str) -> Result<(), Error> {
        self.round += 1;
        let file = self.dir.join(format!("{}.fish", self.round));
        Ok(self.site.put_bytes(round.as_bytes(), &file, 0o600).await?)
    }

    async fn answer(&mut self) -> Result<Answer, Error> {
        let mut said = Vec::new();
        loop {
            match self.running.next().await {
                Some(Line::Stdout(line)) => {
                    if let Some(answer) = self.cutter.take(line) {
                        return Ok(answer);
                    }
                }
                Some(Line::Stderr(line)) => keep(&mut said, line),
                Some(Line::Exit(status)) => return Err(self.died(status, said)),
                None => return Err(self.lost(said)),
            }
        }
    }

    fn died(&self, status: Option<i32>, said: Vec<String>) -> Error {
        let how = status.map_or("it was killed".to_owned(), |status| format!("exit status {status}"));
        Error::Died { host: self.host(), status, said: told(said, self.cutter.rest(), how) }
    }

    fn lost(&self, said: Vec<String>) -> Error {
        let how = "the connection was lost".to_owned();
        Error::Died { host: self.host(), status: None, said: told(said, self.cutter.rest(), how) }
    }

    fn timed_out(&self, command: &str, secs: u64) -> Error {
        Error::TimedOut { host: self.host(), command: command.to_owned(), secs }
    }
}

fn add_drive(drive: &Drive) -> Fish {
    let format = match drive.place.format {
        DiskFormat::Raw => "format:raw",
        DiskFormat::Qcow2 => "format:qcow2",
    };
    let fish = Fish::new(&["add-drive", &drive.place.path]).option(format);
    // An overlay is only worth something when all of it is there, and is synced then.
    if drive.read_only { fish.option("readonly:true") } else { fish.option("cachemode:unsafe") }
}

/// How it ended, and what it said before that, if anything.
fn told(said: Vec<String>, rest: String, how: String) -> String {
    let parts: Vec<_> = std::iter::once(how).chain(said).chain([rest]).collect();
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("; ")
}

fn keep(said: &mut Vec<String>, line: String) {
    if said.len() < SAID_LINES_MAX {
        said.push(line);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_from_the_parts_that_there_are() {
        let text = |said: &[&str], rest: &str| {
            told(
                said.iter().map(|line| (*line).to_owned()).collect(),
                rest.to_owned(),
                "it was killed".into(),
            )
        };
        assert_eq!(text(&[], ""), "it was killed");
        assert_eq!(text(&["", "out of memory\n"], " "), "it was killed; out of memory");
        assert_eq!(text(&[], "cut off"), "it was killed; cut off");
    }
}
