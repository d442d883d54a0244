//! The language of guestfish: commands with exact quoting, and answers cut out of its output.

use std::fmt;

/// A guestfish command may be read into a fixed buffer there.
const LINE_BYTES_MAX: usize = 4000;

/// One command; its arguments arrive exactly as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fish {
    line: String,
    name: String,
}

impl Fish {
    /// # Panics
    /// When the line would be longer than guestfish reads: paths in guests are shorter, and what is longer is
    /// uploaded as a file.
    pub fn new(words: &[&str]) -> Self {
        let name = words.first().copied().unwrap_or_default().to_owned();
        let mut line = name.clone();
        for word in words.iter().skip(1) {
            line.push(' ');
            line.push_str(&quote(word));
        }
        assert!(line.len() <= LINE_BYTES_MAX, "a guestfish line of {} bytes", line.len());
        Self { line, name }
    }

    /// `PATH=VALUE`-like options such as `xattrs:true`, which must not be quoted.
    pub fn option(mut self, option: &str) -> Self {
        self.line.push(' ');
        self.line.push_str(option);
        self
    }

    /// Its output goes through a shell command at the site.
    pub fn pipe(mut self, shell: &str) -> Self {
        self.line.push_str(" | ");
        self.line.push_str(shell);
        self
    }

    /// As it is fed: an error is told and does not end the session.
    pub(super) fn fed(&self) -> String {
        format!("-{}\n", self.line)
    }
}

impl fmt::Display for Fish {
    /// For messages: only the command and what it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 120;
        if self.line.chars().count() <= SHOWN_MAX {
            return f.write_str(&self.line);
        }
        write!(f, "{} …", self.name)
    }
}

/// In double quotes; whatever is not plain is written as bytes.
fn quote(word: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(byte));
            }
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// A path as one word for the shell at the site.
pub fn shell_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What one command answered: its output, or what it complained of.
pub type Answer = Result<String, String>;

/// Cuts the output into answers. Each command is followed by an `echo` of a mark that no guest can know.
#[derive(Debug)]
pub(super) struct Cutter {
    mark: String,
    lines: Vec<String>,
}

impl Cutter {
    pub fn new(mark: String) -> Self {
        Self { mark, lines: Vec::new() }
    }

    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// An answer when this line ends one. A file without a newline at its end has the mark on its last line.
    pub fn take(&mut self, line: String) -> Option<Answer> {
        let Some(rest) = line.strip_suffix(self.mark.as_str()) else {
            self.lines.push(line);
            return None;
        };
        if !rest.is_empty() {
            self.lines.push(rest.to_owned());
        }
        let lines = std::mem::take(&mut self.lines);
        let complaint = lines.iter().position(|line| complaint(line).is_some());
        Some(match complaint {
            None => Ok(lines.join("\n")),
            Some(at) => {
                let mut said: Vec<_> = lines[at..].to_vec();
                said[0] = complaint_text(&said[0]);
                Err(said.join("\n"))
            }
        })
    }

    /// What came since the last answer, for the message when the session dies.
    pub fn rest(&self) -> String {
        const KEPT: usize = 5;
        self.lines[self.lines.len().saturating_sub(KEPT)..].join("; ")
    }
}

fn complaint_text(line: &str) -> String {
    complaint(line).unwrap_or(line).to_owned()
}

/// `*stdin*:6: libguestfs: error: …`
fn complaint(line: &str) -> Option<&str> {
    let (_, after) = line.split_once("*stdin*:")?;
    let (number, said) = after.split_once(": ")?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some(said.strip_prefix("libguestfs: error: ").unwrap_or(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_arrives_exactly() {
        let fish = Fish::new(&["cat", "/a b\"c\\d\n$é'"]);
        assert_eq!(fish.fed(), "-cat \"/a b\\\"c\\\\d\\x0a$\\xc3\\xa9'\"\n");
    }

    #[test]
    fn answers_are_cut_at_the_mark_and_complaints_told_apart() {
        let mut cutter = Cutter::new("#m".into());
        assert_eq!(cutter.take("one".into()), None);
        assert_eq!(cutter.take("two#m".into()), Some(Ok("one\ntwo".into())));
        assert_eq!(cutter.take("#m".into()), Some(Ok(String::new())));
        cutter.take("*stdin*:6: libguestfs: error: download: no such file".into());
        cutter.take("second line".into());
        assert_eq!(cutter.take("#m".into()), Some(Err("download: no such file\nsecond line".into())));
        cutter.take("*stdin*:nonsense: x".into());
        assert!(cutter.take("#m".into()).is_some_and(|answer| answer.is_ok()));
    }

    #[test]
    fn a_long_command_is_not_shown_whole() {
        let fish = Fish::new(&["sh", &"x".repeat(500)]);
        assert_eq!(fish.to_string(), "sh …");
    }
}
