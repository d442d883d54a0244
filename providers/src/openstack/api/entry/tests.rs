//! Files as users have them.

use super::*;

fn with(clouds: &str, secure: &str, cloud: &str) -> Result<Entry, String> {
    let dir = tempfile::tempdir().unwrap();
    let places = Places {
        clouds: vec![dir.path().join("missing.yaml"), dir.path().join("clouds.yaml")],
        secure: vec![dir.path().join("secure.yaml")],
    };
    std::fs::write(&places.clouds[1], clouds).unwrap();
    if !secure.is_empty() {
        std::fs::write(&places.secure[0], secure).unwrap();
    }
    load(&places, cloud, None)
}

const LAB: &str = "
clouds:
  lab:
    region_name: RegionOne
    interface: internalURL
    volume_endpoint_override: http://c:8776/v3
    auth: {auth_url: 'http://k:5000', username: u, project_name: p, project_domain_name: d, user_domain_id: x}
  cred:
    auth_type: v3applicationcredential
    auth: {auth_url: 'http://k:5000/v3', application_credential_id: 42, application_credential_secret: s}
";

#[test]
fn the_password_comes_from_the_other_file() {
    let lab = with(LAB, "clouds: {lab: {auth: {password: pa55}}}", "lab").unwrap();
    assert_eq!((lab.region.as_deref(), lab.interface.as_str()), (Some("RegionOne"), "internal"));
    assert_eq!(lab.overrides["volume"], "http://c:8776/v3");
    let Login::Password { user, password, project } = &lab.login else { panic!("{lab:?}") };
    assert_eq!((password.reveal(), user.domain.id.as_deref()), ("pa55", Some("x")));
    assert_eq!((project.domain.id.as_deref(), project.domain.name.as_deref()), (None, Some("d")));
    assert!(!format!("{lab:?}").contains("pa55"));
}

#[test]
fn an_application_credential_needs_neither_user_nor_project() {
    let cred = with(LAB, "", "cred").unwrap();
    let Login::ApplicationCredential { id, secret, .. } = cred.login else { panic!("{cred:?}") };
    assert_eq!((id.as_deref(), secret.reveal()), (Some("42"), "s"));
}

#[test]
fn what_is_missing_is_named() {
    assert!(with(LAB, "", "lab").unwrap_err().contains("auth.password"));
    assert!(with(LAB, "", "other").unwrap_err().ends_with("use one of cred, lab"));
    let kerberos = "clouds: {a: {auth_type: v3kerberos, auth: {auth_url: x}}}";
    assert!(with(kerberos, "", "a").unwrap_err().contains("v3kerberos"));
    assert!(load(&Places::default(), "a", None).unwrap_err().contains("no clouds.yaml"));
}

#[test]
fn a_broken_file_does_not_show_its_secrets() {
    let error = with("clouds: {a: {auth: {password: pa55: x}}}", "", "a").unwrap_err();
    assert!(error.contains("line 1") && !error.contains("pa55"), "{error}");
}
