//! One cloud of `clouds.yaml` with `secure.yaml` laid over it: where to log in, as whom, and which endpoints to take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::secret::Secret;

/// The variables that openstack's own clients read too.
pub const CLOUD: &str = "OS_CLOUD";
const CONFIG_FILE: &str = "OS_CLIENT_CONFIG_FILE";
const SECURE_FILE: &str = "OS_CLIENT_SECURE_FILE";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub auth_url: String,
    pub login: Login,
    pub region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    pub verify: bool,
    pub cacert: Option<PathBuf>,
    /// Endpoints given by hand, by service type with underscores: `image`, `volume`, `object_store`.
    pub overrides: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Password { user: User, password: Secret, project: Project },
    ApplicationCredential { id: Option<String>, name: Option<String>, user: User, secret: Secret },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub id: Option<String>,
    pub name: Option<String>,
    pub domain: Domain,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Project {
    pub id: Option<String>,
    pub name: Option<String>,
    pub domain: Domain,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Domain {
    pub id: Option<String>,
    pub name: Option<String>,
}

/// Where the two files may be; of each the first that is there counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub clouds: Vec<PathBuf>,
    pub secure: Vec<PathBuf>,
}

impl Places {
    /// Where openstack's own clients look; `given` comes from our configuration and is then the only one.
    pub fn usual(given: Option<&Path>) -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let mut dirs = vec![PathBuf::from(".")];
        dirs.extend(variable("HOME").map(|home| home.join(".config/openstack")));
        dirs.push(PathBuf::from("/etc/openstack"));
        let of = |file: &str, first: Option<PathBuf>| {
            first.into_iter().chain(dirs.iter().map(|dir| dir.join(file))).collect()
        };
        if let Some(given) = given {
            let secure = given.with_file_name("secure.yaml");
            return Self { clouds: vec![given.to_owned()], secure: vec![secure] };
        }
        Self {
            clouds: of("clouds.yaml", variable(CONFIG_FILE)),
            secure: of("secure.yaml", variable(SECURE_FILE)),
        }
    }
}

/// The entry of the cloud; an error says what to write.
pub(crate) fn load(places: &Places, cloud: &str, region: Option<&str>) -> Result<Entry, String> {
    let file = places.clouds.iter().find(|path| path.is_file());
    let file = file.ok_or_else(|| {
        let tried: Vec<_> = places.clouds.iter().map(|path| path.display().to_string()).collect();
        format!("there is no clouds.yaml (looked for {}): download one from the cloud", tried.join(", "))
    })?;
    let mut clouds = read(file)?;
    if let Some(secure) = places.secure.iter().find(|path| path.is_file()) {
        merge(&mut clouds, read(secure)?);
    }
    let entry = clouds.get("clouds").and_then(|clouds| clouds.get(cloud));
    let entry = entry.and_then(Value::as_object).ok_or_else(|| {
        let known = clouds.get("clouds").and_then(Value::as_object);
        let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        format!("{} has no cloud `{cloud}`: use one of {}", file.display(), known.join(", "))
    })?;
    parse(cloud, entry, region).map_err(|what| format!("cloud `{cloud}` in {}: {what}", file.display()))
}

fn read(path: &Path) -> Result<Value, String> {
    let text =
        std::fs::read_to_string(path).map_err(|cause| format!("cannot read {}: {cause}", path.display()))?;
    // The reason is left out: it may quote a line with a password in it.
    serde_norway::from_str(&text).map_err(|error| match error.location() {
        Some(at) => format!("{} is not YAML at line {}: correct it", path.display(), at.line()),
        None => format!("{} is not YAML: correct it", path.display()),
    })
}

/// What `over` has replaces what is below, name by name.
fn merge(below: &mut Value, over: Value) {
    match (below, over) {
        (Value::Object(below), Value::Object(over)) => {
            for (name, value) in over {
                merge(below.entry(name).or_insert(Value::Null), value);
            }
        }
        (below, over) => *below = over,
    }
}

fn parse(name: &str, entry: &Map<String, Value>, region: Option<&str>) -> Result<Entry, String> {
    let none = Map::new();
    let auth = entry.get("auth").and_then(Value::as_object).unwrap_or(&none);
    let of = |key: &str| text(auth.get(key)).or_else(|| text(entry.get(key)));
    let auth_url = of("auth_url").ok_or("`auth.auth_url` is missing: give Keystone's address")?;
    let domain = |kind: &str| {
        let (id, name) = (of(&format!("{kind}_domain_id")), of(&format!("{kind}_domain_name")));
        let any = Domain { id: of("domain_id"), name: of("domain_name") };
        match (id, name) {
            (None, None) if any != Domain::default() => any,
            (None, None) => Domain { id: of("default_domain").or(Some("default".into())), name: None },
            (id, name) => Domain { id, name },
        }
    };
    let user = User { id: of("user_id"), name: of("username"), domain: domain("user") };
    let kind = text(entry.get("auth_type")).unwrap_or_else(|| {
        let credential = ["application_credential_id", "application_credential_name"];
        let credential = credential.iter().any(|key| auth.contains_key(*key));
        if credential { "v3applicationcredential" } else { "password" }.to_owned()
    });
    let login = match kind.as_str() {
        "password" | "v3password" => {
            let project = Project {
                id: of("project_id").or_else(|| of("tenant_id")),
                name: of("project_name").or_else(|| of("tenant_name")),
                domain: domain("project"),
            };
            if project.id.is_none() && project.name.is_none() {
                return Err("`auth.project_name` is missing: name the project".into());
            }
            if user.id.is_none() && user.name.is_none() {
                return Err("`auth.username` is missing: name the user".into());
            }
            let password = of("password").ok_or("`auth.password` is missing: put it into secure.yaml")?;
            Login::Password { user, password: Secret::new(password), project }
        }
        "v3applicationcredential" => {
            let (id, name) = (of("application_credential_id"), of("application_credential_name"));
            if id.is_none() && name.is_none() {
                return Err("`auth.application_credential_id` is missing: give the credential's id".into());
            }
            let secret = of("application_credential_secret")
                .ok_or("`auth.application_credential_secret` is missing: put it into secure.yaml")?;
            Login::ApplicationCredential { id, name, user, secret: Secret::new(secret) }
        }
        other => {
            return Err(format!(
                "auth_type `{other}` is not supported: use password or v3applicationcredential"
            ));
        }
    };
    let interface = text(entry.get("interface")).or_else(|| text(entry.get("endpoint_type")));
    let interface = interface.map_or("public".to_owned(), |name| name.trim_end_matches("URL").to_owned());
    let overrides = entry.iter().filter_map(|(key, value)| {
        Some((key.strip_suffix("_endpoint_override")?.to_owned(), text(Some(value))?))
    });
    Ok(Entry {
        name: name.to_owned(),
        auth_url,
        login,
        region: region.map(str::to_owned).or_else(|| of("region_name")),
        interface,
        verify: entry.get("verify").and_then(Value::as_bool).unwrap_or(true),
        cacert: text(entry.get("cacert")).map(PathBuf::from),
        overrides: overrides.collect(),
    })
}

/// Ids of digits only are numbers to YAML.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "entry/tests.rs"]
mod tests;
