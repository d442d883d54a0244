//! Whether KVM works at the site, proved by booting: a device node that opens is no proof, guests have been seen to
//! hang behind it. The verdict is kept at the site until its host boots again.

use crate::config::Accel;
use crate::error::Error;
use crate::site::{Command, Site};

/// A disk whose boot sector enters 64-bit mode, says `fluid` on port 0xe9 and ends the machine through 0xf4.
///
/// ```text
///   .code16                             movl  $0xc0000080, %ecx ; EFER
///     cli                               rdmsr
///     xorw  %ax, %ax                    orl   $0x100, %eax      ; LME
///     movw  %ax, %ds                    wrmsr
///     movw  %ax, %es                    lgdtl gdtr
///     movw  %ax, %ss                    movl  %cr0, %eax
///     movw  $0x7c00, %sp                orl   $0x80000001, %eax ; PG, PE
///     movw  $0x1000, %di ; page tables  movl  %eax, %cr0
///     xorl  %eax, %eax                  ljmpl $8, $long
///     movw  $0xc00, %cx               .code64
///     cld                             long:
///     rep   stosl                       movw  $16, %ax
///     movw  $0x2003, (0x1000) ; PML4    movw  %ax, %ds
///     movw  $0x3003, (0x2000) ; PDPT    movw  %ax, %ss
///     movw  $0x0083, (0x3000) ; 2 MiB   leaq  mark(%rip), %rsi
///     movl  %cr4, %eax                  movl  $5, %ecx
///     orl   $0x20, %eax       ; PAE   1: lodsb
///     movl  %eax, %cr4                  outb  %al, $0xe9
///     movl  $0x1000, %eax               loop  1b
///     movl  %eax, %cr3                  movb  $16, %al
///                                       outb  %al, $0xf4        ; exit status 33
///   mark: .ascii "fluid"              2: hlt
///   gdt:  0, 64-bit code, data          jmp   2b
/// ```
const BOOT_CODE: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xbf, 0x00, 0x10, 0x66, 0x31,
    0xc0, 0xb9, 0x00, 0x0c, 0xfc, 0x66, 0xf3, 0xab, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, 0xc7, 0x06, 0x00,
    0x20, 0x03, 0x30, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, 0x0f, 0x20, 0xe0, 0x66, 0x83, 0xc8, 0x20, 0x0f,
    0x22, 0xe0, 0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xd8, 0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,
    0x0f, 0x32, 0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30, 0x66, 0x0f, 0x01, 0x16, 0xa8, 0x7c, 0x0f,
    0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, 0x66, 0xea, 0x68, 0x7c, 0x00, 0x00,
    0x08, 0x00, 0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xd0, 0x48, 0x8d, 0x35, 0x11, 0x00, 0x00, 0x00,
    0xb9, 0x05, 0x00, 0x00, 0x00, 0xac, 0xe6, 0xe9, 0xe2, 0xfb, 0xb0, 0x10, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd,
    0x66, 0x6c, 0x75, 0x69, 0x64, 0x0f, 0x1f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff,
    0xff, 0x00, 0x00, 0x00, 0x9a, 0xaf, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00, 0x17, 0x00,
    0x90, 0x7c, 0x00, 0x00,
];
const SECTOR_BYTES: usize = 512;
const PROBE_SECS: u64 = 90;

/// Where the host has a kernel of its own, that must speak too; with no root it panics and ends by itself. The
/// processor is the one that guests get: it is where KVM under KVM fails first.
const PROBE: &str = include_str!("probe.sh");

/// The accelerator to give to guests.
pub(super) async fn choose(site: &dyn Site, accel: Accel) -> Result<Accel, Error> {
    match accel {
        Accel::Auto if proves(site, "kvm").await? => Ok(Accel::Kvm),
        Accel::Auto => Ok(Accel::Tcg),
        fixed => Ok(fixed),
    }
}

/// Whether a machine boots with this accelerator of QEMU.
pub(super) async fn proves(site: &dyn Site, accelerator: &str) -> Result<bool, Error> {
    let dir = site.dir();
    site.put_bytes(&boot_disk(), &dir.join("boot-probe.img"), 0o600).await?;
    let dir = dir.to_string_lossy().into_owned();
    let command = Command::new("sh").args(["-c", PROBE, "sh", &dir, accelerator]).timeout_secs(PROBE_SECS);
    Ok(site.run(&command).await?.text().trim() == "yes")
}

fn boot_disk() -> Vec<u8> {
    let mut sector = vec![0; SECTOR_BYTES];
    sector[..BOOT_CODE.len()].copy_from_slice(BOOT_CODE);
    sector[SECTOR_BYTES - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SiteConfig;
    use crate::site::LocalSite;

    #[tokio::test]
    async fn only_what_boots_is_proved() {
        if !std::path::Path::new("/usr/bin/qemu-system-x86_64").exists() {
            assert!(std::env::var_os("CI").is_none(), "install qemu-system-x86");
            eprintln!("SKIPPED: install qemu-system-x86");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let config = SiteConfig {
            ssh: None,
            address: "127.0.0.1".into(),
            dir: dir.path().join("site"),
            peer_ssh: None,
        };
        let site = LocalSite::new("here".parse().unwrap(), &config);
        assert!(proves(&site, "tcg").await.unwrap(), "emulation boots everywhere");
        assert!(!proves(&site, "nosuch").await.unwrap());
        let remembered = std::fs::read_to_string(site.dir().join("accel-tcg")).unwrap();
        assert!(remembered.trim().ends_with(" yes"));
        std::fs::write(site.dir().join("accel-tcg"), remembered.replace("yes", "no")).unwrap();
        assert!(!proves(&site, "tcg").await.unwrap(), "the verdict is remembered until the next boot");
        std::fs::write(site.dir().join("accel-tcg"), "another-boot no").unwrap();
        assert!(proves(&site, "tcg").await.unwrap(), "and not longer");
        assert_eq!(choose(&site, Accel::Kvm).await.unwrap(), Accel::Kvm, "who says it is not asked");
    }

    #[test]
    fn the_boot_sector_is_one() {
        let disk = boot_disk();
        assert_eq!((disk.len(), &disk[510..]), (512, &[0x55, 0xaa][..]));
    }
}
