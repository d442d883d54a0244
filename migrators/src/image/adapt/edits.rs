//! Changes to be made in the guest, collected before the first is made. Each is told in one line.

use super::Files;
use crate::guest::{self, Fish, Session};

pub(super) const FILES: &[&str] = &["/etc/selinux/config"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edits(Vec<Edit>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    path: String,
    /// `None` removes the file.
    content: Option<String>,
    told: String,
}

impl Edits {
    pub fn write(&mut self, path: &str, content: String, told: impl Into<String>) {
        self.0.push(Edit { path: path.to_owned(), content: Some(content), told: told.into() });
    }

    pub fn remove(&mut self, path: &str, told: impl Into<String>) {
        self.0.push(Edit { path: path.to_owned(), content: None, told: told.into() });
    }

    pub fn told(&self) -> Vec<String> {
        self.0.iter().map(|edit| format!("{}: {}", edit.path, edit.told)).collect()
    }

    #[cfg(test)]
    pub fn content(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|edit| edit.path == path)?.content.as_deref()
    }

    /// New files have no SELinux label yet; the guest gives them theirs when it boots.
    pub fn label_if_needed(&mut self, files: &Files) {
        let config = files.get("/etc/selinux/config").unwrap_or_default();
        let enforced =
            config.lines().any(|line| matches!(line.trim(), "SELINUX=enforcing" | "SELINUX=permissive"));
        if enforced && !self.0.is_empty() {
            self.write("/.autorelabel", String::new(), "files get their SELinux labels at the next boot");
        }
    }

    pub async fn apply(&self, session: &mut Session) -> Result<(), guest::Error> {
        for edit in &self.0 {
            let Some(content) = &edit.content else {
                session.run(&[Fish::new(&["rm-f", &edit.path])]).await?;
                continue;
            };
            if let Some((parent, _)) = edit.path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
                session.run(&[Fish::new(&["mkdir-p", parent])]).await?;
            }
            session.write(&edit.path, content.as_bytes()).await?;
        }
        Ok(())
    }
}
