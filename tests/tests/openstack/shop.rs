//! The case of the FluidCloud paper: the shop leaves OpenStack for a libvirt cloud, its volume becomes part of its own file
//! system, and the object in Swift stays where it is; then it comes back into OpenStack, to another project.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fluidcloud_tests::cli::Said;
use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::openstack::{Clouds, ENDS_WITHIN, Server, helper_flavor};
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::Value;

use crate::timed::{Timed, spent, steps};

/// This machine as the lab's guests see it; those of the cloud reach it by their router.
const HERE: &str = "10.213.0.2";
const PORT: u16 = 8080;

/// Where the network of floating IPs is on this machine, and an address there that is nobody's.
fn bridge() -> (String, String) {
    let variable = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    (
        variable("FLUIDCLOUD_TEST_BRIDGE", "br-ext"),
        variable("FLUIDCLOUD_TEST_BRIDGE_ADDRESS", "172.24.4.20/24"),
    )
}

/// Carries what comes to `HERE` to the service that only listens on loopback; answers the port.
fn gate(to: String) -> u16 {
    let listener = TcpListener::bind((HERE, 0)).expect("the lab's address is this machine's");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            let to = to.clone();
            std::thread::spawn(move || {
                let Ok(service) = TcpStream::connect(&to) else { return };
                let (from, back) = (caller.try_clone(), service.try_clone());
                if let (Ok(from), Ok(back)) = (from, back) {
                    std::thread::spawn(move || pour(from, service));
                    pour(back, caller);
                }
            });
        }
    });
    port
}

fn pour(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn digest_at(address: &str) -> Value {
    let url = format!("http://{address}:{PORT}/digest");
    wait::until("the shop gives its digest", Duration::from_secs(600), || {
        let said = Said::of(Command::new("curl").args(["-fsS", "--max-time", "120", &url]));
        let answer: Value = serde_json::from_str(&said.stdout).ok()?;
        answer["digest"].is_string().then_some(answer)
    })
}

/// The shop's root disk with another object store in its configuration, and its network card as that cloud has it.
fn root_with(disk: &str, objects: &str, to: &Path) {
    Said::of(Command::new("cp").arg("--sparse=always").arg(disk).arg(to)).succeeded();
    let card = std::env::var("FLUIDCLOUD_TEST_CARD").unwrap_or_else(|_| "ens2".to_owned());
    let store = format!("s,\"objects\": .*,\"objects\": \"{objects}\"\\,,");
    for (file, edit) in
        [("/etc/shop/shop.json", store), ("/etc/network/interfaces", format!("s/ens3/{card}/"))]
    {
        Said::of(Command::new("virt-edit").arg("-a").arg(to).args([file, "-e", &edit])).succeeded();
    }
}

const OUT: &str = r#"version: 1
service:
  name: shop
  provider: cloud-a
  components:
    - name: objects
      stays: {kind: object-store, url: "@OBJECTS@/catalog.json"}
    - name: app
      needs: [objects]
      instance:
        id: story-shop
        target_name: shop
        volumes: [{disk: hdb, fold_into: /srv/shop}]
        rewrite:
          - {file: /etc/shop/shop.json, match: '"interpreter":\s*"[^"]*"', replace: '"interpreter": "/usr/bin/node"'}
          - {file: /etc/shop/shop.json, match: '"data":\s*"/mnt/volume/shop"', replace: '"data": "/srv/shop/shop"'}
target: {provider: libvirt-b}
verify:
  - {component: app, http: {port: 8080, path: /health}}
  - {component: app, http: {port: 8080, path: /digest, unchanged: digest}}
"#;
const BACK: &str = r#"version: 1
service:
  name: shop
  provider: libvirt-b
  components:
    - name: objects
      stays: {kind: object-store, url: "@OBJECTS@/catalog.json"}
    - name: app
      needs: [objects]
      instance:
        id: shop
        target_name: story-shop-home
        rewrite:
          - {file: /etc/shop/shop.json, match: '"interpreter":\s*"[^"]*"', replace: '"interpreter": "/opt/node/bin/node"'}
target: {provider: cloud-b}
verify:
  - {component: app, http: {port: 8080, path: /health}}
  - {component: app, http: {port: 8080, path: /digest, unchanged: digest}}
"#;

#[test]
fn the_shop_leaves_openstack_for_libvirt_and_comes_back_to_another_project() {
    leaves("the shop", Clouds::config, true);
}

/// Also what is done inside it is tried on disks that are only read by way of images.
#[test]
fn the_shop_leaves_an_openstack_in_which_no_helper_may_be_made() {
    leaves("the shop, by images", |clouds| clouds.config_without_helper(&[&clouds.a]), false);
}

fn leaves(name: &str, config: impl Fn(&Clouds) -> String, comes_back: bool) {
    let timed = Timed::new(name);
    let Some(clouds) = Clouds::open() else { return };
    let Some(lab) = Lab::empty() else { return };
    lab.run(&["guest"]);
    let disks = lab.run(&["disks"]);
    let disks: Vec<&str> = disks.lines().collect();
    let (bridge, address) = bridge();
    lab.run(&["uplink", "b", &bridge, &address]);
    clouds.b.open_group();

    let swift = clouds.a.public_object("story-shop", "catalog.json", b"{\"catalog\": [1, 2, 3]}\n");
    let port = gate(swift.host.clone());
    let objects = format!("http://{HERE}:{port}{}", swift.path);
    let work = tempfile::tempdir().expect("a temporary directory");
    let root = work.path().join("root.qcow2");
    root_with(disks[0], &objects, &root);
    clouds.a.upload_image("story-shop-root", &root, &[("hw_disk_bus", "ide"), ("hw_vif_model", "e1000")]);
    clouds.a.upload_image("story-shop-data", Path::new(disks[1]), &[]);
    let server = Server {
        image: "story-shop-root".into(),
        flavor: helper_flavor(),
        volume: Some(Some("story-shop-data".into())),
        bus: Some("ide"),
        ..Server::new("story-shop")
    };
    let (id, outside) = clouds.a.make_server(&server);
    let before = digest_at(&outside);
    timed.mark("the shop runs at the source");
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());

    let mut config = config(&clouds);
    config.push_str(&lab.provider("b", "libvirt-b", address.split('/').next().expect("an address")));
    let stack = Stack::embedded_with(&config);
    let out = OUT.replace("@OBJECTS@", &objects);
    // What a user sees, before and after.
    println!("{}", stack.cli(&["plan", &stack.request("out.yaml", &out)]).succeeded());
    let relocation = stack.relocate(&out);
    let status = stack.ended_within(&relocation, ENDS_WITHIN);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    println!("{}", stack.cli(&["status", &relocation, "--watch"]).succeeded());
    println!("{}", spent(&status));
    let there = status["report"]["target"]["addresses"][0].as_str().expect("an address").to_owned();
    let after = digest_at(&there);
    for same in ["digest", "files", "object"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert_eq!((&after["data"], &after["interpreter"]), (&"/srv/shop/shop".into(), &"/usr/bin/node".into()));
    assert_eq!(clouds.a.power(&id), "SHUTOFF");
    assert_eq!(clouds.a.listing(), listed_a, "nothing of the move is left at the source");
    timed.mark("left");
    if !comes_back {
        return;
    }

    let status = stack.ended_within(&stack.relocate(&BACK.replace("@OBJECTS@", &objects)), ENDS_WITHIN);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    println!("{}{}", steps(&status), spent(&status));
    let addresses = status["report"]["target"]["addresses"].as_array().expect("addresses").clone();
    let home = addresses.iter().filter_map(Value::as_str).find(|one| {
        Said::of(Command::new("curl").args([
            "-fsS",
            "--max-time",
            "20",
            &format!("http://{one}:{PORT}/health"),
        ]))
        .code
            == Some(0)
    });
    let home = digest_at(home.expect("it answers"));
    for same in ["digest", "files", "object"] {
        assert_eq!(home[same], before[same], "{same}");
    }
    assert_eq!(lab.power("b", "shop"), "shut off");
    let made: Vec<String> = clouds.b.listing().difference(&listed_b).cloned().collect();
    let scrap: Vec<&String> = made.iter().filter(|thing| thing.contains("fluidcloud-helper")).collect();
    assert!(scrap.is_empty(), "{made:#?}");
    clouds.b.remove_moved("story-shop-home");
}
