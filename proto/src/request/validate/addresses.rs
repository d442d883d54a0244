//! Rewrite rules that name the address of a component: it must be one that has an address.

use super::{find, invalid, known, shown};
use crate::failure::Failure;
use crate::request::{RewriteRule, Service, placeholder};

pub(super) fn check(service: &Service) -> Result<(), Failure> {
    for component in &service.components {
        let rules = component.instance.iter().flat_map(|instance| &instance.rewrite);
        for (at, given) in rules.enumerate() {
            let named =
                format!("rewrite rule {} of component `{}` (file `{}`)", at + 1, component.name, given.file);
            rule(&named, given, service)?;
        }
    }
    Ok(())
}

fn rule(named: &str, given: &RewriteRule, service: &Service) -> Result<(), Failure> {
    let names = placeholder::addressed(&given.replace).map_err(|text| {
        invalid(
            format!("{named} asks for the address of `{}`, which is no name of a component", shown(text)),
            "write it like {{address:db}}",
        )
    })?;
    for name in names {
        let Some(component) = find(service, &name) else {
            return Err(invalid(
                format!("{named} asks for the address of `{name}`, which the service does not have"),
                format!("use one of {}", known(service)),
            ));
        };
        if component.instance.is_none() && component.stays.is_none() {
            return Err(invalid(
                format!("{named} asks for the address of `{name}`, which has none"),
                "name a component with an `instance`, or one that `stays`",
            ));
        }
    }
    if placeholder::follows_a_group(&given.replace) {
        return Err(invalid(
            format!(
                "{named} has a group such as `$1` right before an address, whose digits it would swallow"
            ),
            "write `${1}` for `$1`",
        ));
    }
    Ok(())
}
