//! The requests these stories publish.

/// Below this the copy of a small instance takes long enough to be disturbed in its middle.
pub const SLOW_BYTES_PER_SEC: u64 = 12 << 20;
/// Incompressible data in the instance of the disturbed stories.
pub const DATA_MIB: u64 = 96;

/// `data` leaves cloud-a for cloud-b, at a given rate.
pub fn data(rate: Option<u64>, transport: &str) -> String {
    let rate = rate.map_or(String::new(), |rate| format!(", rate_bytes_per_sec: {rate}"));
    format!(
        "version: 1\n\
         service:\n  name: data\n  provider: cloud-a\n  components:\n    - name: store\n      instance: {{id: data, guest: as_is, shutdown_secs: 1}}\n\
         target: {{provider: cloud-b}}\n\
         transport: {{kind: {transport}{rate}}}\n"
    )
}

/// The same with another id.
pub fn with_id(request: &str, id: &str) -> String {
    format!("{request}id: {id}\n")
}
