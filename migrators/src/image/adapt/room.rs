//! Whether the guest's file systems have room for an initramfs that is built anew. It is estimated from the images that
//! are there: what a tool really makes is known only when it has made it.

use super::Error;
use super::drivers::{Kernel, Rebuild};
use crate::guest::{self, Fish, Guest, Session, Space};

/// Kept free beyond the estimate.
const RESERVE_BYTES: u64 = 16 << 20;
/// An initramfs for one machine is smaller than this; one for any machine is about as large.
const IMAGE_BYTES_MIN: u64 = 24 << 20;
/// An image is put together unpacked, and is about so many times as large then.
const UNPACKED: u64 = 3;
/// Where the images are, and where the tools put them together.
const BOOT: &str = "/boot";
const SCRATCH: &str = "/var/tmp";

/// Answers by how many bytes the images may grow.
pub(super) async fn check(
    session: &mut Session,
    guest: &Guest,
    rebuild: &Rebuild,
    kernels: &[Kernel],
) -> Result<u64, crate::Error> {
    let estimate = Estimate::new(&sizes(session, kernels).await?, rebuild.widens());
    let (boot, scratch) = (guest.mount_of(BOOT).1, guest.mount_of(SCRATCH).1);
    let mut places = vec![(BOOT, boot, estimate.boot_bytes)];
    if scratch == boot {
        places[0].2 += estimate.scratch_bytes;
    } else {
        places.push((SCRATCH, scratch, estimate.scratch_bytes));
    }
    for (at, device, needed) in places {
        let mount_point = guest.mounts.iter().find(|(_, mounted)| mounted == device).map(|(at, _)| at);
        let free = Space::at(session, mount_point.map_or("/", String::as_str)).await?.free_bytes;
        if free < needed {
            return Err(Error::NoRoom { system: guest.name.clone(), at, needed, free }.into());
        }
    }
    Ok(estimate.growth_bytes)
}

#[derive(Debug, PartialEq, Eq)]
struct Estimate {
    boot_bytes: u64,
    scratch_bytes: u64,
    growth_bytes: u64,
}

impl Estimate {
    /// From the sizes of the images of all kernels, as every one is built again.
    fn new(images: &[u64], widens: bool) -> Self {
        let largest = images.iter().copied().max().unwrap_or_default().max(IMAGE_BYTES_MIN);
        // A new image lies beside the old one until it is complete. One for any machine instead of the one it was
        // built on is larger; else only the drivers that were missing are added, which the reserve covers.
        let growth = |size: &u64| largest.saturating_mul(2).saturating_sub(*size);
        let growth_bytes = if widens { images.iter().map(growth).sum() } else { 0 };
        Self {
            boot_bytes: largest.saturating_add(growth_bytes).saturating_add(RESERVE_BYTES),
            scratch_bytes: largest.saturating_mul(UNPACKED),
            growth_bytes,
        }
    }
}

/// 0 for a kernel that has no image yet.
async fn sizes(session: &mut Session, kernels: &[Kernel]) -> Result<Vec<u64>, guest::Error> {
    let images: Vec<_> = kernels.iter().filter_map(Kernel::image).collect();
    let asked: Vec<_> = images.iter().map(|image| Fish::new(&["filesize", image])).collect();
    let told = session.run(&asked).await?;
    let without = kernels.len() - images.len();
    let sizes = told.iter().map(|size| size.trim().parse().unwrap_or_default());
    Ok(sizes.chain(std::iter::repeat_n(0, without)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn an_image_that_gets_a_few_drivers_needs_room_beside_the_old_one() {
        let estimate = Estimate::new(&[40 * MIB, 30 * MIB], false);
        let expected = Estimate { boot_bytes: 56 * MIB, scratch_bytes: 120 * MIB, growth_bytes: 0 };
        assert_eq!(estimate, expected);
        assert_eq!(Estimate::new(&[0], false).boot_bytes, IMAGE_BYTES_MIN + RESERVE_BYTES);
    }

    #[test]
    fn images_for_any_machine_are_larger_and_each_of_them_stays_so() {
        let estimate = Estimate::new(&[30 * MIB, 10 * MIB], true);
        assert_eq!(estimate.growth_bytes, (30 + 50) * MIB);
        assert_eq!(estimate.boot_bytes, (30 + 80 + 16) * MIB);
    }
}
