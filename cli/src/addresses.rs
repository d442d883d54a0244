//! Which address of a relocated service became which, in forms that other programs read.

use std::path::Path;

use fluidcloud_proto::report::{AddressReport, Report};

use crate::args::AddressFormat;
use crate::csv;
use crate::fault::Fault;

/// As in the JSON, so that either can be read by the names of the other.
const COLUMNS: [&str; 8] = ["component", "instance", "name", "network", "mac", "old", "new", "kind"];

impl AddressFormat {
    /// By the end of a file's name.
    pub fn of(file: &Path) -> Self {
        match file.extension().and_then(|end| end.to_str()) {
            Some("json") => Self::Json,
            Some("csv") => Self::Csv,
            _ => Self::Hosts,
        }
    }
}

/// Several lines, without the last line break.
pub fn text(report: &Report, format: AddressFormat) -> Result<String, Fault> {
    Ok(match format {
        AddressFormat::Json => serde_json::to_string_pretty(&report.addresses)
            .map_err(|error| Fault::failed(format!("cannot write JSON: {error}"), "report this"))?,
        AddressFormat::Csv => csv::text(&COLUMNS, report.addresses.iter().map(row)),
        AddressFormat::Hosts => hosts(report),
    })
}

fn row(one: &AddressReport) -> Vec<String> {
    vec![
        one.component.to_string(),
        one.instance.to_string(),
        one.name.to_string(),
        one.network.clone(),
        one.mac.clone(),
        one.old.map_or(String::new(), |old| old.to_string()),
        one.new.map_or(String::new(), |new| new.to_string()),
        one.kind.as_str().to_owned(),
    ]
}

/// One line for each new address; what led to nothing new is a comment.
fn hosts(report: &Report) -> String {
    let mut lines = vec![format!("# addresses after relocation {}", report.id)];
    for one in &report.addresses {
        let mut names = vec![one.component.as_str()];
        for name in [one.instance.as_str(), one.name.as_str()] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let (names, kind) = (names.join(" "), one.kind.as_str());
        lines.push(match (one.new, one.old) {
            (Some(new), Some(old)) if new == old => format!("{new}\t{names}\t# {kind}, as before"),
            (Some(new), Some(old)) => format!("{new}\t{names}\t# {kind}, was {old}"),
            (Some(new), None) => format!("{new}\t{names}\t# {kind}"),
            (None, old) => {
                let old = old.map_or(String::new(), |old| format!("{old} of "));
                format!("# {old}{names} ({kind}) is no more")
            }
        });
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report: Report =
            serde_json::from_str(include_str!("../../proto/examples/report.json")).unwrap();
        let first = report.addresses[0].clone();
        let floating = fluidcloud_proto::report::AddressKind::Floating;
        let gone =
            AddressReport { new: None, old: "192.0.2.7".parse().ok(), kind: floating, ..first.clone() };
        let kept = AddressReport { old: first.new, name: first.instance.clone(), ..first };
        report.addresses.extend([gone, kept]);
        report
    }

    #[test]
    fn hosts_have_the_names_on_the_new_address_and_the_old_one_in_a_comment() {
        let told = text(&report(), AddressFormat::Hosts).unwrap();
        let lines: Vec<&str> = told.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "10.213.102.10\tapp shop-b shop\t# fixed, was 10.213.101.10",
                "# 192.0.2.7 of app shop-b shop (floating) is no more",
                "10.213.102.10\tapp shop-b\t# fixed, as before",
            ]
        );
    }

    #[test]
    fn csv_has_the_columns_of_the_json() {
        let report = report();
        let told = text(&report, AddressFormat::Csv).unwrap();
        assert!(
            told.starts_with("component,instance,name,network,mac,old,new,kind\napp,shop-b,shop,default,"),
            "{told}"
        );
        let json: serde_json::Value =
            serde_json::from_str(&text(&report, AddressFormat::Json).unwrap()).unwrap();
        assert!(COLUMNS.iter().all(|column| json[0].get(column).is_some()), "{json}");
    }

    #[test]
    fn the_name_of_a_file_says_its_form() {
        let of = |name: &str| AddressFormat::of(Path::new(name));
        assert_eq!(
            [of("a.json"), of("a.csv"), of("hosts")],
            [AddressFormat::Json, AddressFormat::Csv, AddressFormat::Hosts]
        );
    }
}
