//! Texts in, decisions out.

use fluidcloud_proto::topology::DiskFormat;

use super::*;

fn hardware(disk_bus: &str, nic: &str) -> Hardware {
    Hardware { machine: "q35".into(), disk_bus: disk_bus.into(), nic: nic.into(), format: DiskFormat::Raw }
}

fn drivers() -> Drivers {
    Drivers::of(&hardware("virtio", "virtio")).unwrap()
}

fn files(pairs: &[(&str, &str)]) -> Files {
    Files(pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

const TOLD: &str = "kernel 6.1.0-1\nimage /boot/initrd.img-6.1.0-1\navailable virtio_pci\navailable virtio_blk\n\
    available virtio_net\ncontained virtio_pci\ntool initramfs-tools\n";

#[test]
fn only_what_is_missing_is_added_and_only_then_it_is_rebuilt() {
    let kernels = read(TOLD);
    let tools = files(&[(CONF, "MODULES=most\n"), (MODULES, "# mine\next4")]);
    let rebuild = plan("Debian", &drivers(), &kernels, &tools).unwrap().unwrap();
    assert_eq!(
        (rebuild.missing.as_slice(), rebuild.kernels()),
        (&["virtio_blk"][..], &["6.1.0-1".to_owned()][..])
    );
    let mut edits = Edits::default();
    rebuild.configure(&tools, &mut edits);
    assert_eq!(edits.content(MODULES), Some("# mine\next4\nvirtio_blk\n"));
    assert_eq!(edits.content(OURS), None);
    let fits = read(&format!("{TOLD}contained virtio_blk\n"));
    assert_eq!(plan("Debian", &drivers(), &fits, &tools).unwrap(), None);
}

#[test]
fn built_in_drivers_count() {
    let told = "kernel 6\nbuiltin virtio_pci\nbuiltin virtio_blk\nbuiltin virtio_net\n";
    assert_eq!(plan("x", &drivers(), &read(told), &Files::default()).unwrap(), None);
}

#[test]
fn an_initramfs_of_the_machine_it_was_built_on_becomes_a_general_one() {
    let tools =
        files(&[(CONF, "MODULES=most\n"), ("/etc/initramfs-tools/conf.d/driver-policy", "MODULES=dep\n")]);
    let rebuild = plan("Debian", &drivers(), &read(TOLD), &tools).unwrap().unwrap();
    let mut edits = Edits::default();
    rebuild.configure(&tools, &mut edits);
    assert!(edits.content(OURS).is_some_and(|text| text.ends_with("MODULES=most\n")));
}

#[test]
fn dracut_is_told_the_drivers_by_a_file_of_ours() {
    let tools = files(&[("/etc/dracut.conf", "")]);
    let rebuild = plan("Rocky", &drivers(), &read(TOLD), &tools).unwrap().unwrap();
    let mut edits = Edits::default();
    rebuild.configure(&tools, &mut edits);
    assert!(edits.content(DRACUT).is_some_and(|text| text.contains("add_drivers+=\" virtio_blk \"")));
    assert_eq!(rebuild.command(), "dracut -f --regenerate-all");
}

#[test]
fn what_cannot_boot_is_refused_with_the_names() {
    let no_kernel = plan("Debian", &drivers(), &[], &Files::default()).unwrap_err();
    assert_eq!(no_kernel.to_string(), "Debian has no kernel in /boot");
    let trimmed = read("kernel 6\nimage /boot/i\navailable virtio_pci\n");
    let error = plan("Debian", &drivers(), &trimmed, &Files::default()).unwrap_err();
    assert!(error.to_string().contains("lacks the drivers virtio_blk, virtio_net"), "{error}");
    let unknown = plan("Alpine", &drivers(), &read(TOLD), &Files::default()).unwrap_err();
    assert!(matches!(unknown, Error::UnknownTool { .. }));
    assert!(matches!(Drivers::of(&hardware("floppy", "virtio")), Err(Error::UnknownHardware(_))));
}

#[test]
fn a_rebuild_that_did_not_help_is_told() {
    let error = prove("Debian", &drivers(), &read(TOLD), &["6.1.0-1".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("still lacks virtio_blk"), "{error}");
    let fits = read(&format!("{TOLD}contained virtio_blk\n"));
    let told = prove("Debian", &drivers(), &fits, &["6.1.0-1".to_owned()]).unwrap();
    assert_eq!(told, ["/boot/initrd.img-6.1.0-1: rebuilt, it holds virtio_pci, virtio_blk"]);
}

#[test]
fn the_way_back_to_ide_needs_its_drivers() {
    let back = Drivers::of(&hardware("ide", "e1000")).unwrap();
    assert_eq!(back.all().collect::<Vec<_>>(), ["ata_piix", "sd_mod", "e1000"]);
}
