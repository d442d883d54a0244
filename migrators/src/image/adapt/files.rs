//! The text files of a guest from which it is decided what to change.

use std::collections::BTreeMap;

use super::{boot, drivers, edits, nics};
use crate::guest::{self, Fish, Session};

/// Text files of the guest by path: all that the decisions below are made from.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(pub(super) BTreeMap<String, String>);

impl Files {
    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Those of a directory with an ending, by name.
    pub fn within<'a>(&'a self, dir: &'a str, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter(move |(path, _)| {
                path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/') && rest.ends_with(ending))
            })
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Files of a directory that are read at most.
const DIR_FILES_MAX: usize = 100;

pub(super) async fn read(session: &mut Session) -> Result<Files, guest::Error> {
    let dirs: Vec<_> = [boot::DIRS, nics::DIRS, drivers::DIRS].concat();
    let is_dir: Vec<_> =
        dirs.iter().map(|dir| Fish::new(&["is-dir", dir]).option("followsymlinks:true")).collect();
    let is_dir = session.run(&is_dir).await?;
    let there: Vec<_> = dirs.iter().zip(is_dir).filter(|(_, is)| is == "true").map(|(dir, _)| *dir).collect();
    let listed: Vec<_> = there.iter().map(|dir| Fish::new(&["ls", dir])).collect();
    let listed = session.run(&listed).await?;
    let mut paths: Vec<String> = [boot::FILES, nics::FILES, drivers::FILES, edits::FILES]
        .concat()
        .iter()
        .map(|path| (*path).to_owned())
        .collect();
    for (dir, names) in there.iter().zip(&listed) {
        paths.extend(names.lines().take(DIR_FILES_MAX).map(|name| format!("{dir}/{name}")));
    }
    let contents = session.read_all(&paths).await?;
    // What is no text is none of the files that are meant.
    let text = |content: Option<Vec<u8>>| content.and_then(|bytes| String::from_utf8(bytes).ok());
    let files = paths.into_iter().zip(contents).filter_map(|(path, content)| Some((path, text(content)?)));
    Ok(Files(files.collect()))
}
