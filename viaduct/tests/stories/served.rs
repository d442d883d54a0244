//! A disk served over a pipe by NBD: what a client elsewhere reads and writes is what the disk has.

use crate::lab::{have, noise};
use std::path::Path;
use viaduct::{Announced, Disk, Error, ServeOptions, open_source, open_target, serve};

/// One client at a socket; answers how serving it ended.
async fn at_socket(dir: &Path, options: ServeOptions) -> tokio::task::JoinHandle<Result<(), Error>> {
    let listener = tokio::net::UnixListener::bind(dir.join("socket")).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (input, output) = tokio::io::split(stream);
        serve(&options, input, output).await
    })
}

fn exported(dir: &Path) -> Disk {
    format!("nbd+unix:///any?socket={}", dir.join("socket").display()).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_by_the_client_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::write(&disk, vec![7; 3 << 20]).unwrap();
    let lock = Some((dir.path().join("lock"), 1));
    let options = ServeOptions { disk: disk.clone(), read_only: false, lock };
    let served = at_socket(dir.path(), options).await;
    let announced = Announced { size: 3 << 20, data_bytes: 0, overcommit: true };
    let target = open_target(&exported(dir.path()), announced).await.unwrap();
    let bytes = noise(1, 1 << 20);
    target.write(4096, &bytes).await.unwrap();
    target.zero((2 << 20)..(3 << 20)).await.unwrap();
    let mut read = vec![1; 1 << 20];
    target.read(4096, &mut read).await.unwrap();
    assert!(read == bytes);
    target.close().await.unwrap();
    drop(target);
    served.await.unwrap().unwrap();
    let mut expected = vec![7; 3 << 20];
    expected[4096..4096 + (1 << 20)].copy_from_slice(&bytes);
    expected[2 << 20..].fill(0);
    assert!(std::fs::read(&disk).unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_only_read_is_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let bytes = noise(2, 1 << 20);
    std::fs::write(&disk, &bytes).unwrap();
    let served =
        at_socket(dir.path(), ServeOptions { disk: disk.clone(), read_only: true, lock: None }).await;
    let source = open_source(&exported(dir.path())).await.unwrap();
    let mut read = vec![0; 1 << 20];
    source.read(0, &mut read).await.unwrap();
    assert!(read == bytes);
    drop(source);
    served.await.unwrap().unwrap();
    let again = ServeOptions { disk: disk.clone(), read_only: true, lock: None };
    std::fs::remove_file(dir.path().join("socket")).unwrap();
    let _served = at_socket(dir.path(), again).await;
    let announced = Announced { size: 1 << 20, data_bytes: 0, overcommit: true };
    assert!(open_target(&exported(dir.path()), announced).await.is_err(), "its export is read-only");
    assert!(std::fs::read(&disk).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_client_reads_it_too() {
    if !have("qemu-img") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let bytes = noise(3, 2 << 20);
    std::fs::write(&disk, &bytes).unwrap();
    let served =
        at_socket(dir.path(), ServeOptions { disk: disk.clone(), read_only: true, lock: None }).await;
    let copy = dir.path().join("copy");
    let uri = exported(dir.path()).to_string();
    let mut command = tokio::process::Command::new("qemu-img");
    let status = command.args(["convert", "-f", "raw", "-O", "raw", &uri]).arg(&copy).status().await;
    assert!(status.unwrap().success());
    served.await.unwrap().unwrap();
    assert!(std::fs::read(&copy).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_ends_it_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::write(&disk, vec![7; 1 << 16]).unwrap();
    for seed in 0..64 {
        let lock = Some((dir.path().join("lock"), seed));
        let options = ServeOptions { disk: disk.clone(), read_only: false, lock };
        let mut said = noise(seed + 10, 4096);
        if seed % 2 == 0 {
            // A right beginning: the client's flags, and the wish to enter.
            let mut begin = vec![0, 0, 0, 3];
            begin.extend_from_slice(b"IHAVEOPT");
            begin.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0]);
            said.splice(..0, begin);
        }
        let ended = serve(&options, &said[..], tokio::io::sink()).await;
        assert!(matches!(ended, Err(Error::Nbd { .. })), "{ended:?}");
    }
    assert!(std::fs::read(&disk).unwrap() == vec![7; 1 << 16]);
}
