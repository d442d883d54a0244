//! Disks of an image service as files of this host, through a real nbdfuse.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_migrators::window::WindowSite;
use fluidcloud_providers::{Error, Window};
use fluidcloud_tests::cli::Said;
use fluidcloud_tests::wait;
use tempfile::TempDir;

#[derive(Debug)]
struct Image(Vec<u8>);

#[async_trait]
impl Window for Image {
    fn name(&self) -> String {
        "image i".into()
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<bytes::Bytes, Error> {
        let bytes = &self.0[range.start as usize..range.end as usize];
        Ok(bytes.to_vec().into())
    }
}

/// `None`, loudly, where FUSE is missing.
fn dir() -> Option<TempDir> {
    let tools = "test \"$(id -u)\" = 0 && test -c /dev/fuse && command -v nbdfuse fusermount3";
    if Said::of(Command::new("sh").args(["-c", tools])).code != Some(0) {
        assert!(std::env::var_os("CI").is_none(), "CI must run these tests as root, with FUSE and nbdfuse");
        eprintln!("SKIPPED: windows need root, FUSE and nbdfuse");
        return None;
    }
    Some(tempfile::Builder::new().prefix("fluidcloud-window").tempdir_in("/var/tmp").unwrap())
}

fn image(seed: u8) -> Arc<dyn Window> {
    Arc::new(Image((0..(9 << 20) + 512_u32).map(|at| (at / 512) as u8 ^ seed).collect()))
}

async fn shown(dir: &Path, path: &Path, seed: u8) -> WindowSite {
    let windows = vec![(path.to_str().unwrap().to_owned(), image(seed))];
    WindowSite::open(&"a".parse().unwrap(), dir, windows).await.unwrap()
}

/// Off the runtime's threads, one of which serves it.
async fn read(path: &Path) -> Vec<u8> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || fs::read(path).unwrap()).await.unwrap()
}

fn mounts(dir: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().filter(|line| line.contains(dir.to_str().unwrap())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_a_file_until_its_site_is_dropped() {
    let Some(dir) = dir() else { return };
    let path = dir.path().join("disks/one");
    let site = shown(dir.path(), &path, 0).await;
    let bytes = read(&path).await;
    assert_eq!(bytes.len(), (9 << 20) + 512);
    assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == (at / 512) as u8), "its bytes");
    assert!(fs::OpenOptions::new().write(true).open(&path).is_err(), "it is read only");
    drop(site);
    wait::until("the file to be gone", std::time::Duration::from_secs(15), || {
        (mounts(dir.path()) == 0 && path.symlink_metadata().is_err()).then_some(())
    });
    let left: Vec<_> = fs::read_dir(dir.path().join("disks")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_takes_the_path_and_keeps_it_when_the_earlier_one_ends() {
    let Some(dir) = dir() else { return };
    let path = dir.path().join("disks/one");
    let earlier = shown(dir.path(), &path, 0).await;
    let mut open = fs::File::open(&path).unwrap();
    let later = shown(dir.path(), &path, 1).await;
    assert_eq!(read(&path).await[0], 1, "the path leads to the later one");
    let first = tokio::task::spawn_blocking(move || {
        let mut first = [9];
        std::io::Read::read_exact(&mut open, &mut first).unwrap();
        first[0]
    });
    assert_eq!(first.await.unwrap(), 0, "what was open stays as it was");
    drop(earlier);
    wait::until("the earlier one to be gone", std::time::Duration::from_secs(15), || {
        (mounts(dir.path()) == 1).then_some(())
    });
    assert_eq!(read(&path).await[512], 0);
    drop(later);
    wait::until("nothing to be shown", std::time::Duration::from_secs(15), || {
        (mounts(dir.path()) == 0).then_some(())
    });
}
