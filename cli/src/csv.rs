//! Comma-separated values for other programs, after RFC 4180: a header, one record in a line, quotes where they are needed.

/// Several lines, without the last line break.
pub fn text(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    let lines = std::iter::once(header).chain(rows).map(|row: Vec<String>| {
        let cells: Vec<String> = row.iter().map(|value| cell(value)).collect();
        cells.join(",")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn cell(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", value.replace('"', "\"\""));
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_record_is_quoted() {
        let rows =
            vec![vec!["a,b".to_owned(), "say \"x\"".to_owned()], vec!["plain".to_owned(), String::new()]];
        assert_eq!(text(&["one", "two"], rows), "one,two\n\"a,b\",\"say \"\"x\"\"\"\nplain,");
    }
}
