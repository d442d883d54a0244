//! Plans as people read them: what follows what, and who does it.

use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::{Plan, Runner};
use fluidcloud_proto::request::RelocationRequest;
use fluidcloud_proto::topology::{
    Disk, DiskFormat, DiskPlace, DiskRole, Firmware, Instance, Placed, Power, Topology,
};
use serde_json::{Value, json};

use super::preview::{Rate, preview};
use super::*;

const GIB: u64 = 1 << 30;

fn request(components: Value, verify: Value) -> RelocationRequest {
    let json = json!({
        "version": 1, "id": RelocationId::new(),
        "service": {"name": "shop", "provider": "cloud-a", "components": components},
        "target": {"provider": "cloud-b"}, "verify": verify,
    });
    serde_json::from_value(json).unwrap()
}

/// Each component with its disks, the first of them its root.
fn topology(components: &[(&str, &[&str])]) -> Topology {
    let instances = components.iter().map(|(name, disks)| Placed {
        component: name.parse().unwrap(),
        needs: Vec::new(),
        instance: instance(name, disks),
    });
    Topology {
        provider: "cloud-a".parse().unwrap(),
        instances: instances.collect(),
        volumes: Vec::new(),
        images: Vec::new(),
        containers: Vec::new(),
        stays: Vec::new(),
        concerns: Vec::new(),
        surroundings: Default::default(),
    }
}

fn instance(name: &str, disks: &[&str]) -> Instance {
    let disks = disks.iter().enumerate().map(|(at, disk)| Disk {
        name: disk.parse().unwrap(),
        role: if at == 0 { DiskRole::Root } else { DiskRole::Volume },
        bus: "ide".into(),
        guest_device: format!("/dev/{disk}"),
        size_bytes: 10 * GIB,
        allocated_bytes: 2 * GIB,
        place: DiskPlace { path: format!("/pool/{name}-{disk}"), format: DiskFormat::Qcow2 },
        volume_type: None,
    });
    Instance {
        autostart: false,
        name: name.parse().unwrap(),
        power: Power::Running,
        machine: "pc".into(),
        firmware: Firmware::Bios,
        vcpus: 2,
        memory_bytes: GIB,
        disks: disks.collect(),
        nics: Vec::new(),
        addresses: Vec::new(),
        concerns: Vec::new(),
        settings: None,
    }
}

fn shown(plan: &Plan) -> String {
    let lines = plan.steps.iter().map(|step| {
        let after: Vec<String> = step.after.iter().map(ToString::to_string).collect();
        let by = match &step.runs {
            Runner::Conduit => "conduit".to_owned(),
            Runner::Migrator { kind, site } => format!("{kind} at {site}"),
        };
        format!("{} [{by}] after {}", step.id, after.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn plan(request: &RelocationRequest, topology: &Topology) -> Result<Plan, Failure> {
    make(request, topology, &"cloud-b".parse().unwrap())
}

fn shop() -> RelocationRequest {
    request(
        json!([
            {"name": "app", "needs": ["db", "store"], "instance": {
                "id": "app",
                "volumes": [{"disk": "hdb", "fold_into": "/srv"}, {"disk": "hdc", "fold_into": "/var/x"}],
                "rewrite": [{"file": "/etc/a", "match": "a", "replace": "b"}]}},
            {"name": "db", "instance": {"id": "db"}},
            {"name": "store", "stays": {"kind": "object-store", "url": "http://10.0.0.9/"}},
        ]),
        json!([{"component": "app", "http": {"port": 80, "unchanged": "digest"}}]),
    )
}

fn shop_topology() -> Topology {
    topology(&[("app", &["hda", "hdb", "hdc"]), ("db", &["vda"])])
}

#[test]
fn one_instance_that_nothing_is_asked_of_has_the_plainest_plan() {
    let request = request(json!([{"name": "app", "instance": {"id": "app"}}]), json!([]));
    insta::assert_snapshot!(shown(&plan(&request, &topology(&[("app", &["hda"])])).unwrap()), @r"
    reserve [conduit] after 
    rehearse app [rewrite at cloud-a] after reserve
    prepare app/hda [image at cloud-b] after reserve
    freeze app [conduit] after rehearse app, prepare app/hda
    sync app/hda [image at cloud-b] after freeze app, prepare app/hda
    adapt app [image at cloud-b] after sync app/hda
    create app [conduit] after adapt app
    verify app [conduit] after create app
    commit [conduit] after verify app
    tidy [conduit] after commit
    ");
}

#[test]
fn a_guest_that_goes_as_it_is_is_neither_looked_into_nor_changed() {
    let request = request(json!([{"name": "app", "instance": {"id": "app", "guest": "as_is"}}]), json!([]));
    insta::assert_snapshot!(shown(&plan(&request, &topology(&[("app", &["hda"])])).unwrap()), @r"
    reserve [conduit] after 
    prepare app/hda [image at cloud-b] after reserve
    freeze app [conduit] after prepare app/hda
    sync app/hda [image at cloud-b] after freeze app, prepare app/hda
    create app [conduit] after sync app/hda
    verify app [conduit] after create app
    commit [conduit] after verify app
    tidy [conduit] after commit
    ");
}

#[test]
fn a_service_stops_in_the_order_of_its_needs_moves_side_by_side_and_starts_in_the_reverse() {
    insta::assert_snapshot!(shown(&plan(&shop(), &shop_topology()).unwrap()), @r"
    reserve [conduit] after 
    rehearse app [rewrite at cloud-a] after reserve
    observe app [conduit] after rehearse app
    prepare app/hda [image at cloud-b] after reserve
    prepare app/hdb [image at cloud-b] after reserve
    prepare app/hdc [image at cloud-b] after reserve
    rehearse db [rewrite at cloud-a] after reserve
    prepare db/vda [image at cloud-b] after reserve
    freeze app [conduit] after rehearse app, observe app, prepare app/hda, prepare app/hdb, prepare app/hdc, rehearse db, prepare db/vda
    sync app/hda [image at cloud-b] after freeze app, prepare app/hda
    sync app/hdb [image at cloud-b] after freeze app, prepare app/hdb
    sync app/hdc [image at cloud-b] after freeze app, prepare app/hdc
    adapt app [image at cloud-b] after sync app/hda, sync app/hdb, sync app/hdc
    fold app/hdb [volume at cloud-b] after adapt app
    fold app/hdc [volume at cloud-b] after fold app/hdb
    rewrite app [rewrite at cloud-b] after fold app/hdc
    create app [conduit] after rewrite app
    freeze db [conduit] after rehearse app, observe app, prepare app/hda, prepare app/hdb, prepare app/hdc, rehearse db, prepare db/vda, freeze app
    sync db/vda [image at cloud-b] after freeze db, prepare db/vda
    adapt db [image at cloud-b] after sync db/vda
    create db [conduit] after adapt db
    verify db [conduit] after create db
    verify app [conduit] after create app, verify db
    commit [conduit] after verify app, verify db
    tidy [conduit] after commit
    ");
}

/// With a volume, an image and a container beside the given instances.
fn goods_topology(components: &[(&str, &[&str])]) -> Topology {
    let mut found = topology(components);
    let disk = Disk { name: "volume".parse().unwrap(), ..instance("data", &["volume"]).disks.remove(0) };
    let volume = json!({"id": "v", "name": "data", "disk": disk, "concerns": []});
    let image = json!({"id": "i", "name": "base", "size_bytes": GIB, "disk_format": "raw",
        "container_format": "bare", "concerns": []});
    let container = json!({"name": "photos", "objects": 3, "bytes": 3 * GIB, "concerns": []});
    let of = |component: &str, found: Value| json!([{"component": component, "found": found}]);
    found.volumes = serde_json::from_value(of("data", volume)).unwrap();
    found.images = serde_json::from_value(of("base", image)).unwrap();
    found.containers = serde_json::from_value(of("photos", container)).unwrap();
    found
}

fn goods() -> Vec<Value> {
    vec![
        json!({"name": "data", "volume": {"id": "data"}}),
        json!({"name": "base", "image": {"id": "base"}}),
        json!({"name": "photos", "container": {"id": "photos"}}),
    ]
}

#[test]
fn what_moves_without_an_instance_stops_nothing() {
    let request = request(json!(goods()), json!([]));
    let found = goods_topology(&[]);
    insta::assert_snapshot!(shown(&plan(&request, &found).unwrap()), @r"
    reserve [conduit] after 
    prepare data/volume [image at cloud-b] after reserve
    sync data/volume [image at cloud-b] after prepare data/volume
    copy base [object at cloud-b] after reserve
    copy photos [object at cloud-b] after reserve
    commit [conduit] after sync data/volume, copy base, copy photos
    tidy [conduit] after commit
    ");
    let shown = preview(&request, &found, &"cloud-b".parse().unwrap(), None).unwrap();
    assert_eq!((shown.bytes_to_move, shown.bytes_total), (6 * GIB, 14 * GIB));
    assert_eq!(shown.estimated_downtime_seconds, 0.0);
}

#[test]
fn what_moves_beside_an_instance_comes_first_and_a_container_once_more_after_the_stop() {
    let mut components = goods();
    components.push(json!({"name": "db", "needs": ["photos"], "instance": {"id": "db"}}));
    let request = request(json!(components), json!([]));
    insta::assert_snapshot!(shown(&plan(&request, &goods_topology(&[("db", &["vda"])])).unwrap()), @r"
    reserve [conduit] after 
    rehearse db [rewrite at cloud-a] after reserve
    prepare db/vda [image at cloud-b] after reserve
    prepare data/volume [image at cloud-b] after reserve
    sync data/volume [image at cloud-b] after prepare data/volume
    copy base [object at cloud-b] after reserve
    copy photos [object at cloud-b] after reserve
    freeze db [conduit] after rehearse db, prepare db/vda, sync data/volume, copy base, copy photos
    sync db/vda [image at cloud-b] after freeze db, prepare db/vda
    adapt db [image at cloud-b] after sync db/vda
    create db [conduit] after adapt db
    recopy photos [object at cloud-b] after copy photos, freeze db
    verify db [conduit] after create db, recopy photos
    commit [conduit] after verify db, sync data/volume, copy base, copy photos, recopy photos
    tidy [conduit] after commit
    ");
}

#[test]
fn a_plan_made_twice_is_the_same() {
    assert_eq!(plan(&shop(), &shop_topology()).unwrap(), plan(&shop(), &shop_topology()).unwrap());
}

#[test]
fn the_workers_of_a_plan_are_each_named_once() {
    let plan = plan(&shop(), &shop_topology()).unwrap();
    let needs = workers(plan.steps.iter().map(|step| &step.runs));
    let told: Vec<String> = needs.iter().map(|need| format!("{}@{}", need.kind, need.site)).collect();
    assert_eq!(told, ["image@cloud-b", "volume@cloud-b", "rewrite@cloud-a", "rewrite@cloud-b"]);
}

#[test]
fn needs_in_a_circle_are_refused_and_never_loop() {
    let request = request(
        json!([
            {"name": "a", "needs": ["b"], "instance": {"id": "a"}},
            {"name": "b", "needs": ["a"], "instance": {"id": "b"}},
        ]),
        json!([]),
    );
    let failure = plan(&request, &topology(&[("a", &["hda"]), ("b", &["hda"])])).unwrap_err();
    assert_eq!(failure.code, Code::InvalidRequest);
    assert!(failure.message.contains("circle"), "{failure}");
}

#[test]
fn what_does_not_fit_the_topology_is_told_with_the_remedy() {
    let volume = |volume: Value| {
        request(json!([{"name": "a", "instance": {"id": "a", "volumes": [volume]}}]), json!([]))
    };
    let found = topology(&[("a", &["hda", "hdb"])]);
    let failure = plan(&volume(json!({"disk": "vdz"})), &found).unwrap_err();
    assert_eq!(
        (failure.code, failure.remedy.as_str()),
        (Code::UnknownDisk, "name one that it has: hda, hdb")
    );
    let failure = plan(&volume(json!({"disk": "hda", "fold_into": "/x"})), &found).unwrap_err();
    assert_eq!(failure.code, Code::InvalidRequest);
    let failure = plan(&shop(), &topology(&[("db", &["vda"])])).unwrap_err();
    assert_eq!(failure.code, Code::UnknownInstance);
    let nothing = request(json!([{"name": "s", "stays": {"kind": "x", "url": "http://x/"}}]), json!([]));
    assert!(plan(&nothing, &topology(&[])).unwrap_err().message.contains("nothing to move"));
}

#[test]
fn an_instance_without_a_root_disk_or_with_an_answer_to_keep_but_not_running_is_refused() {
    let request = request(json!([{"name": "a", "instance": {"id": "a"}}]), json!([]));
    let failure = plan(&request, &topology(&[("a", &[])])).unwrap_err();
    assert_eq!(failure.code, Code::GuestUnsupported);
    let mut stopped = shop_topology();
    stopped.instances[0].instance.power = Power::Stopped;
    let failure = plan(&shop(), &stopped).unwrap_err();
    assert!(failure.message.contains("does not run"), "{failure}");
}

#[test]
fn a_preview_counts_allocated_bytes_and_the_longest_chain_and_says_what_it_assumes() {
    let target = "cloud-b".parse().unwrap();
    let shown = preview(&shop(), &shop_topology(), &target, None).unwrap();
    assert_eq!((shown.bytes_to_move, shown.bytes_total), (8 * GIB, 40 * GIB));
    assert!(matches!(shown.rate, Rate::Assumed { .. }));
    assert!(shown.assumptions[0].contains("assumed"), "{:?}", shown.assumptions);
    let all: f64 = shown.steps.iter().map(|step| step.seconds).sum();
    assert!(shown.estimated_downtime_seconds < shown.estimated_seconds && shown.estimated_seconds < all);

    let slower = preview(&shop(), &shop_topology(), &target, Some(10 << 20)).unwrap();
    assert!(slower.estimated_seconds > shown.estimated_seconds);
    assert!(slower.assumptions[0].contains("measured"));
    let mut limited = shop();
    limited.transport.rate_bytes_per_sec = Some(1 << 20);
    let limited = preview(&limited, &shop_topology(), &target, Some(10 << 20)).unwrap();
    assert_eq!(limited.rate, Rate::Limited { bytes_per_sec: 1 << 20 });
}

#[test]
fn an_address_that_a_rule_asks_for_is_settled_before_the_source_stops() {
    let rule =
        |of: &str| json!([{"file": "/etc/a", "match": "x", "replace": format!("{{{{address:{of}}}}}")}]);
    let components = json!([
        {"name": "a", "instance": {"id": "a", "guest": "as_is", "rewrite": rule("b")}},
        {"name": "b", "instance": {"id": "b", "guest": "as_is", "rewrite": rule("store")}},
        {"name": "store", "stays": {"kind": "object-store", "url": "http://10.9.9.9:9000/"}},
    ]);
    let asked = request(components, json!([]));
    let told = shown(&plan(&asked, &topology(&[("a", &["hda"]), ("b", &["hda"])])).unwrap());
    let addresses: Vec<&str> = told.lines().filter(|line| line.starts_with("address ")).collect();
    assert_eq!(addresses, ["address b [conduit] after reserve"], "only what moves and is asked for: {told}");
    for freeze in told.lines().filter(|line| line.starts_with("freeze ")) {
        assert!(freeze.contains("address b"), "{freeze}");
    }
}

#[test]
fn a_target_whose_guests_get_their_addresses_late_is_refused_with_the_remedy() {
    let rule = json!([{"file": "/etc/a", "match": "x", "replace": "{{address:a}}"}]);
    let asked = request(json!([{"name": "a", "instance": {"id": "a", "rewrite": rule}}]), json!([]));
    let config = |driver: &str| {
        let shape = json!({"machine": "q35", "disk_bus": "virtio", "nic": "virtio", "format": "qcow2"});
        let config = json!({"id": "cloud-b", "driver": driver, "uri": "test:///default", "pool": "default", "network": "default", "site": {"address": "10.0.0.1", "dir": "/s"}, "shape": shape});
        let config = serde_json::from_value(config).unwrap();
        let registry = fluidcloud_providers::Registry::from_config(&[config]).unwrap();
        registry.get(&"cloud-b".parse().unwrap()).unwrap()
    };
    super::suits(&asked, &*config("memory"), &*config("memory")).unwrap();
    let refused = super::suits(&asked, &*config("memory"), &*config("libvirt")).unwrap_err();
    assert!(
        refused.message.contains("component a at cloud-b") && refused.remedy.contains("a name"),
        "{refused}"
    );
    let nothing = request(json!([{"name": "a", "instance": {"id": "a"}}]), json!([]));
    super::suits(&nothing, &*config("libvirt"), &*config("libvirt")).unwrap();
}

#[test]
fn a_target_that_takes_disks_as_images_is_refused_where_a_guest_is_to_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let clouds = dir.path().join("clouds.yaml");
    let auth = "{auth_url: 'http://127.0.0.1:1', username: u, password: p, project_name: p, user_domain_name: d, project_domain_name: d}";
    std::fs::write(&clouds, format!("clouds: {{mine: {{auth: {auth}}}}}")).unwrap();
    let helper = json!({"image": "i", "flavor": "f", "network": "n", "key": "/k"});
    let target = |helper: serde_json::Value| {
        let shape = json!({"machine": "pc", "disk_bus": "virtio", "nic": "virtio", "format": "raw"});
        let openstack = json!({"cloud": "mine", "clouds_file": clouds, "helper": helper});
        let config = json!({"id": "cloud-b", "driver": "openstack", "shape": shape, "openstack": openstack});
        let config = serde_json::from_value(config).unwrap();
        let registry = fluidcloud_providers::Registry::from_config(&[config]).unwrap();
        registry.get(&"cloud-b".parse().unwrap()).unwrap()
    };
    let source = target(helper.clone());
    let asked =
        |instance: serde_json::Value| request(json!([{"name": "app", "instance": instance}]), json!([]));
    let rule = json!([{"file": "/etc/a", "match": "x", "replace": "y"}]);
    let folds = json!([{"disk": "hdb", "fold_into": "/srv"}]);
    let changed = [
        json!({"id": "app"}),
        json!({"id": "app", "guest": "as_is", "rewrite": rule}),
        json!({"id": "app", "guest": "as_is", "volumes": folds}),
    ];
    for instance in changed {
        let asked = asked(instance);
        super::suits(&asked, &*source, &*target(helper.clone())).unwrap();
        let refused = super::suits(&asked, &*source, &*target(json!("none"))).unwrap_err();
        assert!(refused.message.contains("component app") && refused.remedy.contains("as_is"), "{refused}");
    }
    let as_is = asked(json!({"id": "app", "guest": "as_is"}));
    super::suits(&as_is, &*source, &*target(json!("none"))).unwrap();
}
