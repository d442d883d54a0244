//! Relocations where no helper server may be made: disks go by way of images, at the source, at the target, or at both.

use std::fs;

use fluidcloud_tests::openstack::{Clouds, Server};

use crate::between::{application, moves_between};

#[test]
fn a_server_with_its_volume_leaves_a_project_in_which_no_helper_may_be_made() {
    let server = Server { volume: Some(None), script: application(), ..Server::new("story-no-helper") };
    let Some(clouds) = Clouds::open() else { return };
    moves_between(&clouds, &clouds.config_without_helper(&[&clouds.a]), &server);
    nothing_is_shown();
}

#[test]
fn a_server_with_its_volume_arrives_in_a_project_in_which_no_helper_may_be_made() {
    let server = Server { volume: Some(None), script: application(), ..Server::new("story-no-helper-there") };
    let Some(clouds) = Clouds::open() else { return };
    moves_between(&clouds, &clouds.config_without_helper(&[&clouds.b]), &server);
}

#[test]
fn a_server_that_boots_from_a_volume_moves_where_no_helper_may_be_made_anywhere() {
    let server = Server { on_volume: true, script: application(), ..Server::new("story-no-helpers") };
    let Some(clouds) = Clouds::open() else { return };
    moves_between(&clouds, &clouds.config_without_helper(&[&clouds.a, &clouds.b]), &server);
    nothing_is_shown();
}

/// On this host, where the disks of the source appeared.
fn nothing_is_shown() {
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    let ours: Vec<&str> = mounts.lines().filter(|line| line.contains("/run/fluidcloud-site/")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}
