//! `/etc/fstab` as text: read, and changed line by line so that everything else of it stays as it is.

/// One mount of an fstab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which line of the file, from 0.
    pub line: usize,
    /// Device, `UUID=…`, `LABEL=…` and so on, unescaped.
    pub spec: String,
    pub mount_point: String,
    pub fs_type: String,
    pub options: Vec<String>,
}

impl Entry {
    pub fn is_optional(&self) -> bool {
        self.options.iter().any(|option| option == "nofail" || option == "noauto")
    }

    pub fn is_swap(&self) -> bool {
        self.fs_type == "swap"
    }
}

pub fn parse(text: &str) -> Vec<Entry> {
    let entry = |(line, content): (usize, &str)| {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            return None;
        }
        let mut fields = content.split_whitespace();
        let spec = unescape(fields.next()?);
        let mount_point = unescape(fields.next()?);
        let fs_type = fields.next()?.to_owned();
        let options = fields.next().unwrap_or("defaults").split(',').map(str::to_owned).collect();
        Some(Entry { line, spec: spec.replace('"', ""), mount_point, fs_type, options })
    };
    text.lines().enumerate().filter_map(entry).collect()
}

/// The text with the device of one line replaced.
pub fn with_spec(text: &str, entry: &Entry, spec: &str) -> String {
    edit_line(text, entry.line, |content| {
        let start = content.len() - content.trim_start().len();
        let end = content[start..].find(char::is_whitespace).map_or(content.len(), |at| start + at);
        let old = end - start;
        // Columns stay where they are when there is room.
        let gap = content[end..].len() - content[end..].trim_start().len();
        let shrink = spec.len().saturating_sub(old).min(gap.saturating_sub(1));
        let grow = " ".repeat(old.saturating_sub(spec.len()));
        let keeps_columns = content[end..end + gap].bytes().all(|byte| byte == b' ');
        let rest = if keeps_columns { &content[end + shrink..] } else { &content[end..] };
        Some(format!("{}{spec}{}{rest}", &content[..start], if keeps_columns { &grow } else { "" }))
    })
}

/// The text without one line.
pub fn without(text: &str, entry: &Entry) -> String {
    edit_line(text, entry.line, |_| None)
}

fn edit_line(text: &str, at: usize, edit: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number != at {
            out.push_str(line);
            continue;
        }
        let content = line.trim_end_matches(['\n', '\r']);
        if let Some(content_now) = edit(content) {
            out.push_str(&content_now);
            out.push_str(&line[content.len()..]);
        }
    }
    out
}

/// Spaces and the like are written as `\040`.
fn unescape(field: &str) -> String {
    let mut out = Vec::new();
    let bytes = field.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let code = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\n/dev/sda1       /             ext4   errors=remount-ro  0 1\n\n\
        /dev/sdb\t/mnt/my\\040volume\text4\tdefaults,nofail\t0\t2\nUUID=\"ab-c\" none swap sw 0 0";

    #[test]
    fn entries_are_read_unescaped() {
        let entries = parse(TEXT);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[1].mount_point, "/mnt/my volume");
        assert!(entries[1].is_optional() && !entries[0].is_optional());
        assert_eq!((entries[2].spec.as_str(), entries[2].is_swap()), ("UUID=ab-c", true));
        assert_eq!(entries[2].line, 4);
    }

    #[test]
    fn only_the_device_of_one_line_changes() {
        let entries = parse(TEXT);
        let changed = with_spec(TEXT, &entries[0], "UUID=1");
        assert!(
            changed.contains("\nUUID=1          /             ext4   errors=remount-ro  0 1\n"),
            "{changed}"
        );
        let changed = with_spec(TEXT, &entries[1], "UUID=12345678-1234");
        assert!(changed.contains("\nUUID=12345678-1234\t/mnt/my\\040volume\text4"), "{changed}");
        let changed = with_spec(TEXT, &entries[0], "UUID=12345678-1234");
        assert!(changed.contains("\nUUID=12345678-1234 "), "{changed}");
    }

    #[test]
    fn a_line_is_dropped_and_the_rest_stays() {
        let entries = parse(TEXT);
        let changed = without(TEXT, &entries[1]);
        assert_eq!(parse(&changed).len(), 2);
        assert!(changed.starts_with("# a comment\n/dev/sda1"));
    }
}
