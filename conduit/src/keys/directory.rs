//! Files in a directory that only its owner can read, three for a pair: the private half, the public one with the name, and when
//! the private one was handed out. The last is made before the first goes, and only one can make it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fluidcloud_proto::ids::{ComponentName, RelocationId};
use fluidcloud_proto::kept::KeyReport;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::openssh::generate;
use super::{Error, Handed, Keys, PrivateKey, choose};

const PRIVATE: &str = "private";
const PUBLIC: &str = "public";
const TAKEN: &str = "taken";

/// Made when the first pair is.
#[derive(Clone, Debug)]
pub struct DirectoryKeys {
    dir: PathBuf,
}

impl DirectoryKeys {
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, relocation: RelocationId, component: &ComponentName, what: &str) -> PathBuf {
        self.dir.join(format!("{relocation}.{component}.{what}"))
    }

    fn made(&self) -> Result<(), Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.and_then(|()| fs::set_permissions(&self.dir, Permissions::from_mode(0o700)))
            .map_err(|cause| Error::Io { what: "make", path: self.dir.clone(), cause })
    }

    /// Whole or not at all, and durable.
    fn write(&self, path: &Path, content: &str) -> Result<(), Error> {
        let draft = draft(path);
        let written = write_private(&draft, content)
            .and_then(|()| fs::rename(&draft, path))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        written.map_err(|cause| Error::Io { what: "write", path: path.to_owned(), cause })
    }

    /// Of a pair that is whole: its name and public key.
    fn public(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
    ) -> Result<Option<(String, String)>, Error> {
        let path = self.path(relocation, component, PUBLIC);
        let Some(text) = read(&path)? else { return Ok(None) };
        let (name, key) = text.split_once('\n').unwrap_or(("", text.as_str()));
        Ok(Some((name.to_owned(), key.trim().to_owned())))
    }

    fn taken_at(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let text = read(&self.path(relocation, component, TAKEN))?;
        // Of one that cannot be read it is known at least that it was.
        Ok(text
            .map(|text| OffsetDateTime::parse(text.trim(), &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH)))
    }

    fn files_of(&self, relocation: RelocationId) -> Result<Vec<PathBuf>, Error> {
        let cannot = |cause| Error::Io { what: "list", path: self.dir.clone(), cause };
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(cannot(error)),
        };
        let prefix = format!("{relocation}.");
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    /// True for one caller only.
    fn claim(&self, relocation: RelocationId, component: &ComponentName) -> Result<bool, Error> {
        let path = self.path(relocation, component, TAKEN);
        let draft = draft(&path);
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let claimed = write_private(&draft, &now).and_then(|()| fs::hard_link(&draft, &path));
        let _ = fs::remove_file(&draft);
        match claimed {
            Ok(()) => (),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(cause) => return Err(Error::Io { what: "write", path, cause }),
        }
        if let Err(cause) = File::open(&self.dir).and_then(|dir| dir.sync_all()) {
            let _ = fs::remove_file(&path);
            return Err(Error::Io { what: "write", path, cause });
        }
        Ok(true)
    }
}

impl Keys for DirectoryKeys {
    fn public_key(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
        name: &str,
    ) -> Result<String, Error> {
        if let Some((_, key)) = self.public(relocation, component)? {
            return Ok(key);
        }
        self.made()?;
        let pair = generate(name)?;
        // The half that must not be lost first; without the other it is nobody's, and written over.
        self.write(&self.path(relocation, component, PRIVATE), pair.private.reveal())?;
        self.write(&self.path(relocation, component, PUBLIC), &format!("{name}\n{}\n", pair.public))?;
        Ok(pair.public)
    }

    fn hand_out(&self, relocation: RelocationId, name: Option<&str>) -> Result<Handed, Error> {
        let all = self.standing(relocation)?;
        let key = choose(relocation, &all, name)?;
        let path = self.path(relocation, &key.component, PRIVATE);
        // What cannot be read is nobody's yet.
        let private = read(&path)?;
        if !self.claim(relocation, &key.component)? {
            let at = self.taken_at(relocation, &key.component)?;
            return Err(Error::Taken { name: key.name.clone(), at });
        }
        let Some(private) = private else {
            return Err(Error::Unknown { relocation, name: Some(key.name.clone()) });
        };
        if let Err(error) = remove(&path) {
            let _ = fs::remove_file(self.path(relocation, &key.component, TAKEN));
            return Err(error);
        }
        // It is gone for who asks; on storage it goes with the next write there at the latest.
        let _ = File::open(&self.dir).and_then(|dir| dir.sync_all());
        Ok(Handed { name: key.name.clone(), private: PrivateKey(private) })
    }

    fn standing(&self, relocation: RelocationId) -> Result<Vec<KeyReport>, Error> {
        let mut all = Vec::new();
        let prefix = format!("{relocation}.");
        for path in self.files_of(relocation)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let component =
                name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&format!(".{PUBLIC}")));
            let Some(component) = component.and_then(|name| name.parse::<ComponentName>().ok()) else {
                continue;
            };
            if let Some((name, _)) = self.public(relocation, &component)? {
                let taken_at = self.taken_at(relocation, &component)?;
                all.push(KeyReport { component, name, taken_at });
            }
        }
        Ok(all)
    }

    fn remove(&self, relocation: RelocationId) -> Result<(), Error> {
        self.files_of(relocation)?.iter().try_for_each(|path| remove(path))
    }
}

/// Never one of the names that are looked for.
fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(
        ".new-{}-{}",
        std::process::id(),
        DRAFTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    ));
    PathBuf::from(draft)
}

static DRAFTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::Io { what: "read", path: path.to_owned(), cause }),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::Io { what: "remove", path: path.to_owned(), cause: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_can_read_what_is_kept_and_what_was_handed_out_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let keys = DirectoryKeys::at(dir.path().join("keys"));
        let (id, component) = (RelocationId::new(), "app.v2".parse().unwrap());
        keys.public_key(id, &component, "ops key").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&keys.dir), 0o700);
        let files = keys.files_of(id).unwrap();
        assert!(files.len() == 2 && files.iter().all(|path| mode(path) == 0o600), "{files:?}");
        let handed = keys.hand_out(id, None).unwrap();
        for path in keys.files_of(id).unwrap() {
            assert!(!fs::read_to_string(&path).unwrap().contains(handed.private.reveal()), "{path:?}");
        }
    }

    #[test]
    fn a_private_half_without_its_public_one_was_never_used_and_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let keys = DirectoryKeys::at(dir.path().to_owned());
        let (id, component) = (RelocationId::new(), "app".parse().unwrap());
        fs::write(keys.path(id, &component, PRIVATE), "half").unwrap();
        assert_eq!(keys.standing(id).unwrap(), []);
        keys.public_key(id, &component, "ops").unwrap();
        assert!(keys.hand_out(id, None).unwrap().private.reveal().starts_with("-----BEGIN OPENSSH"));
    }
}
