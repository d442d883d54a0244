//! Numbers for people.

pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

pub fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_fits() {
        let shown = [0, 1023, 1024, 5 << 20, 3 << 29, 7 << 40, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "1.5 GiB", "7.0 TiB", "16777216.0 TiB"]);
    }

    #[test]
    fn seconds_have_the_unit_that_fits() {
        let shown = [0.04, 12.34, 59.9, 61.0, 3599.0, 7322.0].map(seconds);
        assert_eq!(shown, ["0.0 s", "12.3 s", "1 min 00 s", "1 min 01 s", "59 min 59 s", "2 h 02 min"]);
    }
}
