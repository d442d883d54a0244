//! Every fault, as users read it.

use std::collections::BTreeMap;

use super::*;
use crate::request::{HttpCheck, RewriteRule, StaysComponent, VolumePlacement, from_json};

fn example() -> RelocationRequest {
    from_json(include_bytes!("../../../examples/request.json")).expect("the example is valid")
}

/// What is told when the example is changed so.
fn told(change: impl FnOnce(&mut RelocationRequest)) -> String {
    let mut request = example();
    change(&mut request);
    let failure = validate(&request).expect_err("a fault");
    assert_eq!(failure.retry, crate::failure::Retry::Never);
    format!("{:?}: {failure}", failure.code)
}

fn component(name: &str, needs: &[&str]) -> Component {
    let mut component = example().service.components.remove(0);
    component.name = name.parse().unwrap();
    component.needs = needs.iter().map(|name| name.parse().unwrap()).collect();
    component.instance.as_mut().unwrap().id = format!("vm-{name}").parse().unwrap();
    component.instance.as_mut().unwrap().target_name = None;
    component
}

fn with_components(components: Vec<Component>) -> impl FnOnce(&mut RelocationRequest) {
    move |request| {
        request.verify.clear();
        request.service.components = components;
    }
}

fn app(request: &mut RelocationRequest) -> &mut crate::request::InstanceComponent {
    request.service.components[0].instance.as_mut().expect("the first component of the example moves")
}

fn http(request: &mut RelocationRequest) -> &mut HttpCheck {
    &mut request.verify[0].http
}

fn fold(into: &str) -> String {
    told(|request| app(request).volumes[0].fold_into = Some(into.to_owned()))
}

fn stays_at(url: &str) -> Result<(), Failure> {
    let mut request = example();
    request.service.components[1].stays =
        Some(StaysComponent { kind: "object-store".into(), url: url.into() });
    validate(&request)
}

fn rewriting(pattern: &str, replace: &str) -> Result<(), Failure> {
    let mut request = example();
    app(&mut request).rewrite =
        vec![RewriteRule { file: "/etc/shop.conf".into(), pattern: pattern.into(), replace: replace.into() }];
    validate(&request)
}

#[test]
fn a_component_is_exactly_one_of_what_moves_and_what_stays() {
    insta::assert_snapshot!(told(|request| request.service.components[1].stays = None), @"InvalidRequest: component `images` has none of `instance`, `volume`, `image`, `container` and `stays`; add `instance` or another of them if it moves, `stays` if it does not");
    insta::assert_snapshot!(
        told(|request| {
            let stays = request.service.components[1].stays.clone();
            request.service.components[0].stays = stays;
        }),
        @"InvalidRequest: component `app` has both `instance` and `stays`; keep `instance` if it moves, `stays` if it does not"
    );
}

#[test]
fn a_service_moves_something_and_not_too_much() {
    insta::assert_snapshot!(told(with_components(Vec::new())), @"InvalidRequest: service `shop` has nothing to move; add a component with an `instance` and its `id` at the source, or with a `volume`, `image` or `container`");
    insta::assert_snapshot!(told(with_components(vec![example().service.components.remove(1)])), @"InvalidRequest: service `shop` has nothing to move; add a component with an `instance` and its `id` at the source, or with a `volume`, `image` or `container`");
    let many = (0..=COMPONENTS_MAX).map(|number| component(&format!("c{number}"), &[])).collect();
    insta::assert_snapshot!(told(with_components(many)), @"InvalidRequest: service `shop` has 257 components, more than 256; keep at most 256 in one request");
}

#[test]
fn names_are_given_once() {
    insta::assert_snapshot!(told(with_components(vec![component("app", &[]), component("app", &[])])), @"InvalidRequest: service `shop` has two components named `app`; give each component a name of its own");
    let mut twin = component("twin", &[]);
    twin.instance.as_mut().unwrap().id = "vm-app".parse().unwrap();
    insta::assert_snapshot!(told(with_components(vec![component("app", &[]), twin])), @"InvalidRequest: component `twin` moves instance `vm-app`, which another component moves too; name each instance in one component only");
    let mut twin = component("twin", &[]);
    twin.instance.as_mut().unwrap().target_name = Some("vm-app".parse().unwrap());
    insta::assert_snapshot!(told(with_components(vec![component("app", &[]), twin])), @"InvalidRequest: component `twin` would be named `vm-app` at the target, like another one; give it another `target_name`");
}

#[test]
fn needs_name_what_is_there_and_can_be_met() {
    insta::assert_snapshot!(told(with_components(vec![component("app", &["db"])])), @"InvalidRequest: component `app` needs `db`, which the service does not have; add a component `db`, or correct the name");
    insta::assert_snapshot!(
        told(|request| request.service.components[1].needs = vec!["app".parse().unwrap()]),
        @"InvalidRequest: component `images` stays where it is, and yet has `needs`; remove them: nothing is started for what stays"
    );
}

#[test]
fn a_circle_of_needs_is_told_with_its_way() {
    let circle = vec![component("a", &["b"]), component("b", &["a"])];
    insta::assert_snapshot!(told(with_components(circle)), @"InvalidRequest: the components need each other in a circle: a -> b -> a; remove one of these `needs`, so that one of them can start first");
    insta::assert_snapshot!(told(with_components(vec![component("alone", &["alone"])])), @"InvalidRequest: the components need each other in a circle: alone -> alone; remove one of these `needs`, so that one of them can start first");
    let tail = vec![
        component("front", &["left", "right"]),
        component("left", &["back"]),
        component("right", &["back", "loop-1"]),
        component("back", &[]),
        component("loop-1", &["loop-2"]),
        component("loop-2", &["loop-3", "back"]),
        component("loop-3", &["loop-1"]),
    ];
    insta::assert_snapshot!(told(with_components(tail)), @"InvalidRequest: the components need each other in a circle: loop-1 -> loop-2 -> loop-3 -> loop-1; remove one of these `needs`, so that one of them can start first");
}

#[test]
fn a_long_chain_and_a_diamond_are_no_circle() {
    let chain = (0..COMPONENTS_MAX).map(|number| match number {
        0 => component("c0", &[]),
        _ => component(&format!("c{number}"), &[&format!("c{}", number - 1)]),
    });
    let mut request = example();
    with_components(chain.rev().collect())(&mut request);
    validate(&request).unwrap();
    let diamond = vec![
        component("top", &["left", "right"]),
        component("left", &["bottom"]),
        component("right", &["bottom"]),
        component("bottom", &[]),
    ];
    with_components(diamond)(&mut request);
    validate(&request).unwrap();
}

#[test]
fn volumes_fold_into_a_directory_of_their_own() {
    insta::assert_snapshot!(fold("srv/data"), @"InvalidRequest: `fold_into` of disk `vdb` of component `app` is `srv/data`, not an absolute path; give an absolute path without `.`, `..` or double slashes, such as /srv/data");
    insta::assert_snapshot!(fold("/"), @"InvalidRequest: `fold_into` of disk `vdb` of component `app` is `/`, the root itself; give an absolute path without `.`, `..` or double slashes, such as /srv/data");
    insta::assert_snapshot!(fold("/srv/../etc"), @"InvalidRequest: `fold_into` of disk `vdb` of component `app` is `/srv/../etc`, with `..` in it; give an absolute path without `.`, `..` or double slashes, such as /srv/data");
    insta::assert_snapshot!(fold("/srv//data/"), @"InvalidRequest: `fold_into` of disk `vdb` of component `app` is `/srv//data/`, not in its normal form; give an absolute path without `.`, `..` or double slashes, such as /srv/data");
    insta::assert_snapshot!(fold("/run/shop"), @"InvalidRequest: component `app` folds disk `vdb` into `/run/shop`, which is mounted over when the guest boots; choose a directory of the guest's own file system, such as /srv/data");
    insta::assert_snapshot!(
        told(|request| {
            let again = VolumePlacement { disk: "vdc".parse().unwrap(), ..app(request).volumes[0].clone() };
            app(request).volumes.push(again);
        }),
        @"InvalidRequest: component `app` folds two disks into `/srv/shop/data`, where their files would mix; give each disk a directory of its own"
    );
    insta::assert_snapshot!(
        told(|request| {
            let again = app(request).volumes[0].clone();
            app(request).volumes.push(again);
        }),
        @"InvalidRequest: component `app` places disk `vdb` twice; keep one of the two"
    );
}

#[test]
fn rewrite_rules_have_a_file_a_pattern_and_groups_that_exist() {
    insta::assert_snapshot!(told(|request| app(request).rewrite[0].file = "etc/shop.conf".into()), @"InvalidRequest: `file` of rewrite rule 1 of component `app` is `etc/shop.conf`, not an absolute path; give an absolute path without `.`, `..` or double slashes, such as /srv/data");
    insta::assert_snapshot!(told(|request| app(request).rewrite[0].file = "/etc/../shadow".into()), @"InvalidRequest: `file` of rewrite rule 1 of component `app` is `/etc/../shadow`, with `..` in it; give an absolute path without `.`, `..` or double slashes, such as /srv/data");
    insta::assert_snapshot!(rewriting("(unclosed", "x").unwrap_err(), @r#"
rewrite rule 1 of component `app` (file `/etc/shop.conf`) has an invalid pattern `(unclosed`: regex parse error:
    (unclosed
    ^
error: unclosed group; correct `match`; it is a Rust `regex`, which has no look-around and no back-references
"#);
    insta::assert_snapshot!(rewriting("", "x").unwrap_err(), @"rewrite rule 1 of component `app` (file `/etc/shop.conf`) has a pattern of 0 bytes; give a regular expression of 1 to 4096 bytes as `match`");
    insta::assert_snapshot!(rewriting("a(b)c", "$1x").unwrap_err(), @"rewrite rule 1 of component `app` (file `/etc/shop.conf`) refers to group `1x`, which its pattern does not have; write `${1}x` when text follows a group, and `$$` for a dollar sign");
    insta::assert_snapshot!(rewriting("a(?<name>b)c", "${nome}").unwrap_err(), @"rewrite rule 1 of component `app` (file `/etc/shop.conf`) refers to group `nome`, which its pattern does not have; write `${1}x` when text follows a group, and `$$` for a dollar sign");
    assert_eq!(rewriting("(?=look)", "x").unwrap_err().code, Code::InvalidPattern);
    for (pattern, replace) in [("a(b)c", "${1}x $0 $$1 $ 5$"), ("(?<n>b)", "$n-${n}"), ("(?m)^x$", "${ ")] {
        rewriting(pattern, replace).unwrap();
    }
    let rules = |count| {
        move |request: &mut RelocationRequest| {
            let rule = app(request).rewrite[0].clone();
            app(request).rewrite = vec![rule; count];
        }
    };
    insta::assert_snapshot!(told(rules(RULES_MAX + 1)), @"InvalidRequest: component `app` has 257 rewrite rules, more than 256; keep at most 256 in one request");
    let mut request = example();
    rules(RULES_MAX)(&mut request);
    validate(&request).unwrap();
}

#[test]
fn an_address_is_asked_of_a_component_that_has_one() {
    insta::assert_snapshot!(rewriting("a", "{{address:db}}").unwrap_err(), @"rewrite rule 1 of component `app` (file `/etc/shop.conf`) asks for the address of `db`, which the service does not have; use one of `app`, `images`");
    insta::assert_snapshot!(rewriting("a", "{{address:d b}}").unwrap_err(), @"rewrite rule 1 of component `app` (file `/etc/shop.conf`) asks for the address of `d b`, which is no name of a component; write it like {{address:db}}");
    insta::assert_snapshot!(rewriting("(a)", "$1{{address:app}}").unwrap_err(), @"rewrite rule 1 of component `app` (file `/etc/shop.conf`) has a group such as `$1` right before an address, whose digits it would swallow; write `${1}` for `$1`");
    for replace in ["{{address:app}}", "http://{{address:images}}/", "${0}{{address:app}}", "{{ other }}"] {
        rewriting("a", replace).unwrap();
    }
}

#[test]
fn a_check_asks_what_moves_in_a_way_that_can_be_asked() {
    insta::assert_snapshot!(told(|request| request.verify[0].component = "ap".parse().unwrap()), @"InvalidRequest: a check asks component `ap`, which service `shop` does not have; use one of `app`, `images`");
    insta::assert_snapshot!(told(|request| request.verify[0].component = "images".parse().unwrap()), @"InvalidRequest: a check asks component `images`, which stays where it is; check a component that moves; what stays is checked by its `url`");
    insta::assert_snapshot!(told(|request| http(request).port = 0), @"InvalidRequest: the check of component `app` has port 0; give the port it listens on");
    insta::assert_snapshot!(told(|request| http(request).path = "digest".into()), @"InvalidRequest: the check of component `app` has path `digest`; start it with `/`, and write blanks as %20");
    insta::assert_snapshot!(told(|request| http(request).path = "/a b\n".into()), @r#"InvalidRequest: the check of component `app` has path `/a b\n`; start it with `/`, and write blanks as %20"#);
    insta::assert_snapshot!(told(|request| http(request).status = 99), @"InvalidRequest: the check of component `app` expects status 99; give an HTTP status, 100 to 599");
    insta::assert_snapshot!(told(|request| http(request).within_secs = 0), @"InvalidRequest: the check of component `app` has 0 as `within_secs`; give 1 to 86400 seconds");
    insta::assert_snapshot!(told(|request| http(request).contains = Some(String::new())), @"InvalidRequest: `contains` in the check of component `app` is empty; give it a value or leave it out");
    insta::assert_snapshot!(
        told(|request| {
            let check = request.verify[0].clone();
            request.verify = vec![check; CHECKS_MAX + 1];
        }),
        @"InvalidRequest: `verify` has 257 checks, more than 256; keep at most 256 in one request"
    );
}

#[test]
fn the_target_is_another_provider() {
    insta::assert_snapshot!(told(|request| request.target.provider = Some("cloud-a".parse().unwrap())), @"InvalidRequest: target provider `cloud-a` is where service `shop` runs now; name another provider, or leave it out to take the first that fits");
    insta::assert_snapshot!(told(|request| request.target.needs.region = Some(String::new())), @"InvalidRequest: `region` of the target's needs is empty; give it a value or leave it out");
    let labels: BTreeMap<_, _> = (0..=LABELS_MAX).map(|number| (format!("l{number}"), "x".into())).collect();
    insta::assert_snapshot!(told(|request| request.target.needs.labels = labels), @"InvalidRequest: the list of needs has 65 labels, more than 64; keep at most 64 in one request");
    let mut request = example();
    request.target.provider = None;
    validate(&request).unwrap();
}

#[test]
fn the_transport_can_move_something() {
    insta::assert_snapshot!(told(|request| request.transport.rate_bytes_per_sec = Some(0)), @"InvalidRequest: `rate_bytes_per_sec` of the transport is 0, so nothing would move; give the bytes per second a disk may take, or leave it out");
    insta::assert_snapshot!(told(|request| request.transport.streams = Some(0)), @"InvalidRequest: `streams` of the transport is 0; give 1 to 16, or leave it out");
    insta::assert_snapshot!(told(|request| request.transport.streams = Some(17)), @"InvalidRequest: `streams` of the transport is 17; give 1 to 16, or leave it out");
}

#[test]
fn what_stays_has_an_address_without_a_credential() {
    for good in [
        "http://store:9000",
        "https://[2001:db8::1]:443/x?y#z",
        "postgres://db.internal/shop",
        "http://1.2.3.4",
    ] {
        stays_at(good).unwrap_or_else(|failure| panic!("{good}: {failure}"));
    }
    for bad in [
        "store:9000",
        "http://",
        "http://sto re/",
        "http://store:0",
        "http://store:99999",
        "1p://x",
        "http://[::g]/",
    ] {
        assert_eq!(stays_at(bad).expect_err(bad).code, Code::InvalidRequest);
    }
    insta::assert_snapshot!(stays_at("store.example").unwrap_err(), @"the `url` of component `images` is `store.example`, without a scheme; write it like http://store.example:9000/bucket");
    insta::assert_snapshot!(stays_at("http://store:port/").unwrap_err(), @"the `url` of component `images` is `http://store:port/`, with a port that is none; write it like http://store.example:9000/bucket");
    let failure = stays_at("http://ferry:s3cret@store/").unwrap_err();
    assert!(!failure.to_string().contains("s3cret"), "{failure}");
    insta::assert_snapshot!(failure, @"the `url` of component `images` holds a user or a password; leave them out: a request never holds a credential; write a plain @ as %40");
}

#[test]
fn an_error_repeats_a_bounded_part_of_what_was_given() {
    let failure = told(|request| http(request).path = "x".repeat(100_000));
    assert!(failure.len() < 400, "{} bytes", failure.len());
    insta::assert_snapshot!(told(|request| request.tenant = Some("two\nlines".into())), @"InvalidRequest: tenant holds a control character; write it on one line");
}

/// What is told when a component of the example is this instead.
fn alone(component: &str) -> String {
    told(|request| {
        request.verify.clear();
        request.service.components = vec![serde_json::from_str(component).unwrap()];
    })
}

#[test]
fn what_moves_alone_has_a_name_that_can_be_and_one_of_each_kind() {
    let mut request = example();
    let lone = [
        r#"{"name": "a", "volume": {"id": "data"}}"#,
        r#"{"name": "b", "image": {"id": "data", "visibility": "community"}}"#,
        r#"{"name": "c", "container": {"id": "data", "target_name": "other data"}}"#,
    ];
    request.verify.clear();
    request.service.components = lone.map(|component| serde_json::from_str(component).unwrap()).to_vec();
    assert_eq!(validate(&request), Ok(()), "a service may consist of these only");
    request
        .service
        .components
        .push(serde_json::from_str(r#"{"name": "d", "volume": {"id": "data"}}"#).unwrap());
    assert!(validate(&request).unwrap_err().message.contains("moves volume `data`, which another"));
    request.service.components[3].volume.as_mut().unwrap().id = "x".into();
    request.service.components[3].volume.as_mut().unwrap().target_name = Some("data".into());
    assert!(validate(&request).unwrap_err().message.contains("would be named `data`"));

    insta::assert_snapshot!(alone(r#"{"name": "c", "container": {"id": "a/b"}}"#), @"InvalidRequest: `id` of container `c` is `a/b`, which no container can be named; name a container, without `/` and what is in it");
    insta::assert_snapshot!(alone(r#"{"name": "c", "container": {"id": ".."}}"#), @"InvalidRequest: `id` of container `c` is `..`, which no container can be named; name a container, without `/` and what is in it");
    insta::assert_snapshot!(alone(r#"{"name": "v", "volume": {"id": ""}}"#), @"InvalidRequest: `id` of volume `v` is empty; give it a value or leave it out");
    insta::assert_snapshot!(alone(r#"{"name": "v", "volume": {"id": "a"}, "image": {"id": "b"}}"#), @"InvalidRequest: component `v` has both `volume` and `image`; make two components of it, one with `volume` and one with `image`");
    insta::assert_snapshot!(alone(r#"{"name": "v", "needs": ["v"], "volume": {"id": "a"}}"#), @"InvalidRequest: component `v` is no instance, and yet has `needs`; remove them: nothing is started for what moves alone; an instance may need it instead");
}

#[test]
fn a_check_asks_an_instance() {
    let lone = r#"{"name": "photos", "container": {"id": "photos"}}"#;
    insta::assert_snapshot!(
        told(|request| {
            request.service.components.push(serde_json::from_str(lone).unwrap());
            request.verify[0].component = "photos".parse().unwrap();
        }),
        @"InvalidRequest: a check asks component `photos`, which is no instance; check an instance that uses it; what moves alone is checked by digest"
    );
}

fn deciding(instance: serde_json::Value) -> Result<(), Failure> {
    let mut request = example();
    let mut json = serde_json::json!({"id": "shop"});
    json.as_object_mut().unwrap().extend(instance.as_object().unwrap().clone());
    request.service.components[0].instance = Some(serde_json::from_value(json).unwrap());
    request.verify.clear();
    validate(&request)
}

fn refused(instance: serde_json::Value) -> String {
    deciding(instance).expect_err("a fault").to_string()
}

#[test]
fn what_is_decided_has_one_choice_of_each() {
    use serde_json::json;
    const PUBLIC: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkS9yFkkRNFSq0Vw5P5gJfSdhQfV1n2yq1yPqEuzsmN me@host";
    for keypair in [json!({"select": "ops"}), json!({"create": "ops"})] {
        deciding(json!({"launch": {"keypair": keypair}})).unwrap();
    }
    deciding(json!({
        "snapshot": "shop-before", "image": {"name": "shop", "format": "vmdk", "visibility": "shared"},
        "launch": {"keypair": {"import": {"name": "ops", "public_key": PUBLIC}},
            "security_group": {"into_default": true}, "floating_ip": "free"},
    }))
    .unwrap();
    for none_or_two in [json!({}), json!({"select": "a", "create": "b"})] {
        let told = refused(json!({"launch": {"keypair": none_or_two}}));
        assert!(told.contains("exactly one of `select`, `create` and `import`"), "{told}");
    }
    let told = refused(json!({"launch": {"security_group": {"new": "web", "into_default": true}}}));
    assert!(told.contains("exactly one of `new` and `into_default`"), "{told}");
    let told = refused(json!({"launch": {"security_group": {"new": "default"}}}));
    assert!(told.contains("into_default: true"), "{told}");
    assert!(refused(json!({"snapshot": ""})).contains("is empty"));
    assert!(refused(json!({"image": {"name": " shop"}})).contains("with blanks around it"));
}

#[test]
fn a_private_key_in_a_request_is_refused_and_not_repeated() {
    let given = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END";
    let import =
        |key: &str| serde_json::json!({"launch": {"keypair": {"import": {"name": "k", "public_key": key}}}});
    let told = refused(import(given));
    assert!(told.contains("private key") && !told.contains("c2Vj"), "{told}");
    for wrong in ["ssh-ed25519", "ssh-dss AAAA", "ssh-rsa not,base64,not,base64,not,base64,not,base64,not"] {
        let told = refused(import(wrong));
        assert!(told.contains("no public key of ssh") && !told.contains("not,base64"), "{told}");
    }
}

#[test]
fn two_components_make_no_two_things_of_one_name() {
    let image = serde_json::json!({"name": "golden"});
    let mut components = vec![component("a", &[]), component("b", &[])];
    for component in &mut components {
        let instance = component.instance.as_mut().unwrap();
        instance.image = serde_json::from_value(image.clone()).ok();
    }
    let told = told(with_components(components));
    assert!(
        told.contains("`image.name` of component `b` is `golden`, which another component makes too"),
        "{told}"
    );
}

#[test]
fn a_manual_cutover_needs_something_that_stops() {
    let mut request = example();
    request.cutover = crate::request::Cutover::Manual;
    assert_eq!(validate(&request), Ok(()));
    let fault = told(|request| {
        request.cutover = crate::request::Cutover::Manual;
        request.verify.clear();
        let volume = serde_json::json!({"name": "archive", "volume": {"id": "archive"}});
        request.service.components = vec![serde_json::from_value(volume).unwrap()];
    });
    insta::assert_snapshot!(fault, @"InvalidRequest: `cutover` is `manual`, but service `shop` has no instance: nothing of it stops, so there is nothing to approve; leave `cutover` out, and send the request when it may move; or pause it with `fluidcloud pause`");
}

#[test]
fn a_cutover_that_is_automatic_is_not_written_down() {
    // Requests of earlier versions keep their digest.
    let written = serde_json::to_value(example()).unwrap();
    assert_eq!(written.get("cutover"), None);
    let mut asked = written.clone();
    asked["cutover"] = "automatic".into();
    assert_eq!(from_json(&serde_json::to_vec(&asked).unwrap()).unwrap(), example());
    asked["cutover"] = "later".into();
    assert!(from_json(&serde_json::to_vec(&asked).unwrap()).is_err());
}
