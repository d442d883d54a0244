//! A request that would move what was inspected, as YAML with remarks: to be edited by a person. It is read back before it
//! is shown, so that it is a valid one as it stands.

use std::fmt::Write;

use fluidcloud_proto::request::from_text;
use fluidcloud_proto::topology::{DiskRole, Placed, Topology};

use crate::fault::Fault;
use crate::units;

pub fn draft(topology: &Topology) -> Result<String, Fault> {
    let text = text(topology);
    if topology.instances.is_empty() {
        let what = format!("there is nothing to move at {}", topology.provider);
        return Err(Fault::usage(what, "name a provider with instances"));
    }
    from_text(&text)?;
    Ok(text.trim_end().to_owned())
}

fn text(topology: &Topology) -> String {
    let service = match topology.instances.as_slice() {
        [one] => one.component.as_str(),
        _ => topology.provider.as_str(),
    };
    let mut text = format!(
        "# A draft: edit it, look at it with `fluidcloud plan FILE`, then `fluidcloud relocate FILE --wait`.\n\
         version: 1\n\
         service:\n  name: {}\n  provider: {}\n  components:\n",
        quoted(service),
        quoted(topology.provider.as_str()),
    );
    for placed in &topology.instances {
        component(&mut text, placed);
    }
    for container in &topology.surroundings.containers {
        let _ = writeln!(
            text,
            "    # Container {0} of the project stays. If the service uses it, name it here:\n    \
             # - name: objects\n    #   stays: {{kind: object-store, url: \"https://…\"}}\n    \
             # or have it copied: container: {{id: {0}}}",
            one_line(&container.name)
        );
    }
    text.push_str(
        "# Where to: a provider by name, or the first that fits when it is left out.\n\
         target: {}\n#  provider: NAME\n\
         # What must answer at the target before the relocation commits.\n\
         # verify:\n",
    );
    for placed in &topology.instances {
        let _ = writeln!(
            text,
            "#   - {{component: {}, http: {{port: 80, path: /, within_secs: 600}}}}",
            placed.component
        );
    }
    text
}

fn component(text: &mut String, placed: &Placed) {
    let instance = &placed.instance;
    let flavor = instance.settings.as_ref().map(|settings| settings.flavor.as_str()).unwrap_or_default();
    let flavor = if flavor.is_empty() { String::new() } else { format!(", flavor {}", one_line(flavor)) };
    let _ = write!(
        text,
        "    # {} vCPUs, {} of memory{flavor}\n    - name: {}\n",
        instance.vcpus,
        units::bytes(instance.memory_bytes),
        quoted(placed.component.as_str()),
    );
    text.push_str("      # needs: []            # components that must answer before this one starts\n");
    let _ = write!(text, "      instance:\n        id: {}\n", quoted(instance.name.as_str()));
    text.push_str("        # target_name: NAME   # the same when left out\n");
    text.push_str("        # guest: as_is        # change nothing inside the guest\n");
    let volumes: Vec<_> = instance.disks.iter().filter(|disk| disk.role == DiskRole::Volume).collect();
    if !volumes.is_empty() {
        text.push_str(
            "        # volumes:            # a volume arrives as a volume, or as a directory of the root\n",
        );
    }
    for volume in volumes {
        let size = units::bytes(volume.size_bytes);
        let _ = writeln!(
            text,
            "        #   - {{disk: {}, fold_into: /srv/{}}}   # {size}",
            volume.name, volume.name
        );
    }
    for address in instance.nics.iter().flat_map(|nic| &nic.floating) {
        let _ = writeln!(text, "        # reached at {address} now; the report tells its new address");
    }
}

/// As YAML takes it for a text.
fn quoted(name: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !WORDS.contains(&name.to_ascii_lowercase().as_str());
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        serde_json::from_str(include_str!("../../../../proto/examples/topology.json")).expect("the example")
    }

    #[test]
    fn a_draft_is_a_request_for_what_was_inspected() {
        let request = from_text(&draft(&topology()).unwrap()).unwrap();
        assert_eq!(request.service.provider.as_str(), "cloud-a");
        let moved: Vec<_> =
            request.service.components.iter().map(|it| it.instance.as_ref().unwrap()).collect();
        let inspected = topology();
        let names: Vec<_> = inspected.instances.iter().map(|placed| &placed.instance.name).collect();
        assert_eq!(moved.iter().map(|instance| &instance.id).collect::<Vec<_>>(), names);
    }

    #[test]
    fn what_is_remarked_is_a_request_too_when_the_marks_are_taken_off() {
        let draft = draft(&topology()).unwrap();
        let lines = draft.lines().filter(|line| !line.contains("target: {}"));
        let uncommented: Vec<String> = lines
            .map(|line| match line.trim_start().starts_with("# ") || line.starts_with("#  ") {
                true if line.contains("fold_into") || line.contains("volumes:") => line.replacen("# ", "", 1),
                true if line.contains("provider: NAME") => "target: {provider: cloud-x}".to_owned(),
                true if line.contains("verify:") || line.contains("http:") => line.replacen("# ", "", 1),
                _ => line.to_owned(),
            })
            .collect();
        let request = from_text(&uncommented.join("\n")).unwrap();
        assert_eq!(request.verify.len(), topology().instances.len());
    }

    #[test]
    fn names_that_yaml_would_take_for_something_else_are_quoted() {
        assert_eq!(
            ["web-1", "1e3", "True", "n", "nn"].map(quoted),
            ["web-1", "\"1e3\"", "\"True\"", "\"n\"", "nn"]
        );
    }

    #[test]
    fn nothing_is_no_request() {
        let mut nothing = topology();
        nothing.instances.clear();
        assert!(draft(&nothing).is_err());
    }
}
