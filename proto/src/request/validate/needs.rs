//! The order in which components start: everything a component needs exists, and nothing needs itself, not even
//! through others.

use std::collections::HashMap;

use super::{Component, invalid};
use crate::failure::Failure;
use crate::ids::ComponentName;

pub(super) fn check(components: &[Component]) -> Result<(), Failure> {
    let by_name: HashMap<_, _> = components.iter().map(|component| (&component.name, component)).collect();
    for component in components {
        let name = &component.name;
        if component.stays.is_some() && !component.needs.is_empty() {
            return Err(invalid(
                format!("component `{name}` stays where it is, and yet has `needs`"),
                "remove them: nothing is started for what stays",
            ));
        }
        if component.is_alone() && !component.needs.is_empty() {
            return Err(invalid(
                format!("component `{name}` is no instance, and yet has `needs`"),
                "remove them: nothing is started for what moves alone; an instance may need it instead",
            ));
        }
        for needed in &component.needs {
            if !by_name.contains_key(needed) {
                return Err(invalid(
                    format!("component `{name}` needs `{needed}`, which the service does not have"),
                    format!("add a component `{needed}`, or correct the name"),
                ));
            }
        }
    }
    match find_cycle(components, &by_name) {
        None => Ok(()),
        Some(cycle) => {
            let path: Vec<_> = cycle.iter().map(ToString::to_string).collect();
            Err(invalid(
                format!("the components need each other in a circle: {}", path.join(" -> ")),
                "remove one of these `needs`, so that one of them can start first",
            ))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// On the way from the component we came from.
    Open,
    /// Leads to no circle.
    Done,
}

/// Depth first with a stack of our own, as a request may be deep enough to overflow the thread's.
fn find_cycle<'a>(
    components: &'a [Component],
    by_name: &HashMap<&'a ComponentName, &'a Component>,
) -> Option<Vec<&'a ComponentName>> {
    let mut marks: HashMap<&ComponentName, Mark> = HashMap::new();
    for start in components {
        if marks.contains_key(&start.name) {
            continue;
        }
        marks.insert(&start.name, Mark::Open);
        let mut way = vec![(start, start.needs.iter())];
        while let Some((component, rest)) = way.last_mut() {
            let Some(next) = rest.next() else {
                marks.insert(&component.name, Mark::Done);
                way.pop();
                continue;
            };
            match marks.get(next) {
                Some(Mark::Done) => {}
                Some(Mark::Open) => {
                    let names = way.iter().map(|(component, _)| &component.name);
                    let mut cycle: Vec<_> = names.skip_while(|name| *name != next).collect();
                    cycle.push(next);
                    return Some(cycle);
                }
                None => {
                    let component = by_name.get(next)?;
                    marks.insert(next, Mark::Open);
                    way.push((component, component.needs.iter()));
                }
            }
        }
    }
    None
}
