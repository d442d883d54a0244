//! Which flavor an instance gets: what the configuration says, the same name, the same size where there is one, else the
//! nearest that fits; never a smaller one.

use super::OpenstackProvider;
use super::servers::Flavor;
use crate::error::Error;
use crate::furnishing::Size;
use crate::provider::InstanceOrder;

const MIB: u64 = 1 << 20;

impl Size {
    pub(super) fn of(order: &InstanceOrder) -> Self {
        let flavor = order.settings.as_ref().map(|settings| settings.flavor.clone());
        Self {
            instance: order.name.clone(),
            vcpus: order.vcpus,
            memory_bytes: order.memory_bytes,
            flavor: flavor.filter(|flavor| !flavor.is_empty()),
        }
    }
}

impl OpenstackProvider {
    pub(super) fn flavor_for<'a>(&self, all: &'a [Flavor], size: &Size) -> Result<&'a Flavor, Error> {
        let mapped = size.flavor.as_ref().and_then(|name| self.config.flavors.get(name));
        let asked = mapped.map(String::as_str);
        pick(all, size, asked).map_err(|(why, remedy)| Error::Unsupported {
            provider: self.id.to_string(),
            what: format!("run `{}`: {why}", size.instance),
            remedy: remedy.to_owned(),
        })
    }
}

fn fits(flavor: &Flavor, size: &Size) -> bool {
    flavor.vcpus >= size.vcpus && flavor.ram.saturating_mul(MIB) >= size.memory_bytes
}

/// `asked`: this one or none.
fn pick<'a>(
    flavors: &'a [Flavor],
    size: &Size,
    asked: Option<&str>,
) -> Result<&'a Flavor, (String, &'static str)> {
    let needed = format!("{} processors and {} bytes of memory", size.vcpus, size.memory_bytes);
    if let Some(name) = asked {
        let found = flavors.iter().find(|flavor| flavor.name == name || flavor.id == name);
        let found = found.ok_or_else(|| {
            (format!("there is no flavor `{name}`, which was asked for"), "name one that the project sees")
        })?;
        if !fits(found, size) {
            let why = format!("flavor `{name}`, which was asked for, has less than its {needed}");
            return Err((why, "name one that is large enough"));
        }
        return Ok(found);
    }
    let same = size.flavor.as_ref().and_then(|name| flavors.iter().find(|flavor| flavor.name == *name));
    if let Some(same) = same.filter(|flavor| fits(flavor, size)) {
        return Ok(same);
    }
    choose(flavors, size.vcpus, size.memory_bytes).ok_or_else(|| {
        let remedy = "ask the cloud for such a flavor, or choose another target";
        (format!("no flavor has {needed}"), remedy)
    })
}

/// The best of those that fit. Disks are volumes, so the disk of a flavor is of no use and only costs.
pub(super) fn choose(flavors: &[Flavor], vcpus: u32, memory_bytes: u64) -> Option<&Flavor> {
    let fits = flavors.iter().filter(|flavor| {
        flavor.vcpus >= vcpus && flavor.ram.saturating_mul(MIB) >= memory_bytes && !is_special(flavor)
    });
    fits.min_by(|a, b| {
        // Relative, so that a processor and a GiB can be weighed against each other.
        let excess = |flavor: &Flavor| {
            f64::from(flavor.vcpus) / f64::from(vcpus.max(1))
                + (flavor.ram.saturating_mul(MIB)) as f64 / memory_bytes.max(1) as f64
        };
        excess(a).total_cmp(&excess(b)).then(a.disk.cmp(&b.disk)).then(a.name.cmp(&b.name))
    })
}

/// Asks for hardware that the guest does not need, such as GPUs, and that few hosts have.
fn is_special(flavor: &Flavor) -> bool {
    let special =
        ["pci_passthrough:", "resources:VGPU", "resources:CUSTOM_", "trait:CUSTOM_", "hw:mem_encryption"];
    flavor.extra_specs.keys().any(|key| special.iter().any(|start| key.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flavor(name: &str, vcpus: u32, ram: u64, disk: u64) -> Flavor {
        Flavor { id: name.into(), name: name.into(), vcpus, ram, disk, ..Flavor::default() }
    }

    fn chosen(flavors: &[Flavor], vcpus: u32, mib: u64) -> Option<&str> {
        choose(flavors, vcpus, mib * MIB).map(|flavor| flavor.name.as_str())
    }

    #[test]
    fn the_nearest_that_fits_is_taken_and_never_a_smaller_one() {
        let all = [
            flavor("l", 4, 8192, 0),
            flavor("s", 1, 512, 0),
            flavor("m", 2, 2048, 20),
            flavor("m0", 2, 2048, 0),
        ];
        assert_eq!(chosen(&all, 2, 2048), Some("m0"), "the same, without a disk that nobody needs");
        assert_eq!(chosen(&all, 1, 513), Some("m0"));
        assert_eq!(chosen(&all, 3, 100), Some("l"));
        assert_eq!(chosen(&all, 5, 100), None);
        assert_eq!(chosen(&all, 1, 8193), None);
    }

    #[test]
    fn what_was_asked_for_or_has_the_name_is_taken_before_the_nearest_but_never_too_small() {
        let all = [flavor("m", 2, 2048, 0), flavor("m1.web", 4, 4096, 0), flavor("tiny", 1, 64, 0)];
        let size = |name: &str| Size {
            instance: "shop".parse().unwrap(),
            vcpus: 1,
            memory_bytes: 2000 * MIB,
            flavor: Some(name.into()),
        };
        let picked = |name: &str, asked| pick(&all, &size(name), asked).map(|flavor| flavor.name.as_str());
        assert_eq!(picked("m1.web", None), Ok("m1.web"));
        assert_eq!(picked("tiny", None), Ok("m"), "the same name, but smaller");
        assert_eq!(picked("m", Some("m1.web")), Ok("m1.web"));
        assert!(picked("m", Some("tiny")).unwrap_err().0.contains("has less"));
        assert!(picked("m", Some("gone")).unwrap_err().0.contains("no flavor `gone`"));
    }

    #[test]
    fn hardware_that_is_rare_is_not_asked_for() {
        let mut gpu = flavor("gpu", 1, 512, 0);
        gpu.extra_specs.insert("pci_passthrough:alias".into(), "a100:1".into());
        assert_eq!(chosen(&[gpu.clone()], 1, 512), None);
        assert_eq!(chosen(&[gpu, flavor("m", 2, 2048, 0)], 1, 512), Some("m"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_chosen_fits(sizes in proptest::collection::vec((1u32..9, 64u64..9000), 0..12), vcpus in 1u32..9, mib in 64u64..9000) {
            let all: Vec<_> = sizes.iter().enumerate().map(|(n, (c, r))| flavor(&n.to_string(), *c, *r, 0)).collect();
            let found = choose(&all, vcpus, mib * MIB);
            let any = all.iter().any(|flavor| flavor.vcpus >= vcpus && flavor.ram >= mib);
            proptest::prop_assert_eq!(found.is_some(), any);
            if let Some(found) = found {
                proptest::prop_assert!(found.vcpus >= vcpus && found.ram >= mib);
            }
        }
    }
}
