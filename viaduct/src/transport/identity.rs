//! Who an end is: a key pair with a self-signed certificate in one PEM file, known to others by its fingerprint. The
//! certificate carries no meaning beyond the key: names, dates and issuers are not looked at.

use crate::error::{Error, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::ParsedCertificate;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// SHA-256 of a key's SubjectPublicKeyInfo in DER. Shown as `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Fingerprint, rustls::Error> {
        let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Ok(Fingerprint(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Fingerprint> {
        text.strip_prefix("sha256:")
            .and_then(|hex| data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Fingerprint)
            .ok_or_else(|| {
                Error::usage(
                    format!("peer `{text}`"),
                    "it is not sha256: and 64 hexadecimal digits",
                    "take what `viaduct identity FILE` prints at the other end",
                )
            })
    }
}

/// A key pair with its certificate. Debug shows the fingerprint only.
pub struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    fingerprint: Fingerprint,
    public_point: Option<Vec<u8>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the identity in `path`, or makes one there that only its owner can read. Anything else in the file is left alone
    /// and refused. Of several that make one at once, all get the same.
    pub fn load_or_create(path: &Path) -> Result<Identity> {
        if path.try_exists().map_err(|error| Error::io("examine", path.display(), error))? {
            return Identity::load(path);
        }
        let fail = |error: rcgen::Error| Error::Identity { path: path.to_owned(), why: error.to_string() };
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(fail)?;
        let params = rcgen::CertificateParams::new(vec!["viaduct".to_owned()]).map_err(fail)?;
        let certificate = params.self_signed(&key).map_err(fail)?;
        // It gets its name when it is whole, as half an identity would be refused for ever.
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".new-{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let written = write_private(&draft, (key.serialize_pem() + &certificate.pem()).as_bytes());
        let named = written.and_then(|()| match std::fs::hard_link(&draft, path) {
            // Another was quicker: its identity is it.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            named => named,
        });
        let _ = std::fs::remove_file(&draft);
        named.map_err(|error| Error::io("create", path.display(), error))?;
        Identity::load(path)
    }

    pub fn load(path: &Path) -> Result<Identity> {
        let pem = std::fs::read(path).map_err(|error| Error::io("read identity", path.display(), error))?;
        let fail = |why: String| Error::Identity { path: path.to_owned(), why };
        let certificate =
            CertificateDer::from_pem_slice(&pem).map_err(|error| fail(format!("no certificate: {error}")))?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|error| fail(format!("no private key: {error}")))?;
        let fingerprint =
            Fingerprint::of(&certificate).map_err(|error| fail(format!("bad certificate: {error}")))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let signing = provider.key_provider.load_private_key(key.clone_key());
        let certified =
            signing.map(|signing| rustls::sign::CertifiedKey::new(vec![certificate.clone()], signing));
        certified
            .and_then(|certified| certified.keys_match())
            .map_err(|error| fail(format!("its key and certificate do not belong together: {error}")))?;
        let spki = ParsedCertificate::try_from(&certificate).map(|parsed| parsed.subject_public_key_info());
        // The SPKI of a P-256 key ends with the uncompressed point: 0x04, x, y.
        let public_point = spki.ok().filter(|spki| spki.len() == 91).map(|spki| spki[26..].to_vec());
        Ok(Identity { certificate, key, fingerprint, public_point })
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The public key as a line for `authorized_keys`.
    pub fn ssh_public_key(&self) -> Option<String> {
        let mut blob = Vec::new();
        for part in [b"ecdsa-sha2-nistp256".as_slice(), b"nistp256", self.public_point.as_ref()?] {
            blob.extend_from_slice(&(part.len() as u32).to_be_bytes());
            blob.extend_from_slice(part);
        }
        Some(format!("ecdsa-sha2-nistp256 {} viaduct", data_encoding::BASE64.encode(&blob)))
    }
}

fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    // What a process with our number has left, before it was killed.
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id.pem");
        let made = Identity::load_or_create(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Identity::load_or_create(&path).unwrap().fingerprint(), made.fingerprint());
        assert_eq!(made.fingerprint().to_string().parse::<Fingerprint>().unwrap(), made.fingerprint());
        assert!(
            made.ssh_public_key().unwrap().starts_with("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY")
        );
    }

    #[test]
    fn a_file_that_is_something_else_is_neither_used_nor_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        std::fs::write(&path, "my only copy").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(Error::Identity { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"my only copy");
    }

    #[test]
    fn a_key_with_another_ones_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, mixed] = ["a", "b", "mixed"].map(|name| dir.path().join(name));
        Identity::load_or_create(&a).unwrap();
        Identity::load_or_create(&b).unwrap();
        let text = |path| std::fs::read_to_string(path).unwrap();
        let (key, certificate) = (text(&a), text(&b));
        let split = |text: &str| text.find("-----BEGIN CERTIFICATE").unwrap();
        std::fs::write(&mixed, format!("{}{}", &key[..split(&key)], &certificate[split(&certificate)..]))
            .unwrap();
        assert!(matches!(Identity::load(&mixed), Err(Error::Identity { .. })));
    }
}
