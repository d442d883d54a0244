//! Which flavor an instance gets: the same size where there is one, else the nearest that fits, never a smaller one. Pure.

use super::servers::Flavor;

const MIB: u64 = 1 << 20;

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
