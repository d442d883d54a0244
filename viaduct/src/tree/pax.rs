//! The records of a PAX extended header: `LENGTH KEY=VALUE\n`, where a value may hold anything.

use super::reader::Broken;

/// Key and value of every record, in order.
pub fn records(mut data: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Broken> {
    let broken = || Broken("an extended header is not understood".into());
    let mut records = Vec::new();
    // Some writers pad with NULs.
    while data.first().is_some_and(|byte| *byte != 0) {
        let space = data.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let length: usize =
            std::str::from_utf8(&data[..space]).ok().and_then(|text| text.parse().ok()).ok_or_else(broken)?;
        let record = data.get(space + 1..length).ok_or_else(broken)?;
        let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        let key = String::from_utf8_lossy(&record[..equals]).into_owned();
        records.push((key, record[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Ok(records)
}

/// A decimal number, the fraction of which is cut off towards the past.
pub fn seconds(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let below = text.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Some(whole - i64::from(below))
}

pub fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    proptest! {
        #[test]
        fn records_hold_anything(records in proptest::collection::vec(("[A-Za-z.]{1,20}", proptest::collection::vec(any::<u8>(), 0..120)), 0..5)) {
            let bytes: Vec<u8> = records.iter().flat_map(|(key, value)| encode(key, value)).collect();
            prop_assert_eq!(super::records(&bytes).unwrap(), records);
        }

        #[test]
        fn noise_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = super::records(&bytes);
        }
    }

    #[test]
    fn times_are_cut_to_seconds_as_file_systems_count_them() {
        assert_eq!(seconds(b"12.9"), Some(12));
        assert_eq!(seconds(b"-1.5"), Some(-2));
        assert_eq!(seconds(b"7"), Some(7));
        assert_eq!(seconds(b"x"), None);
    }
}
