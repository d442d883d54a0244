//! A new pair as OpenSSH writes it: ECDSA on P-256, which every Nova and every sshd takes. PROTOCOL.key of OpenSSH has the format.

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64;

use super::{Error, PrivateKey};

const KIND: &[u8] = b"ecdsa-sha2-nistp256";
const CURVE: &[u8] = b"nistp256";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Its padding unit without encryption.
const BLOCK: usize = 8;
const LINE: usize = 70;

#[derive(Debug)]
pub struct Pair {
    /// Kind and key, without a comment.
    pub public: String,
    pub private: PrivateKey,
}

pub fn generate(comment: &str) -> Result<Pair, Error> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| Error::Make)?;
    let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| Error::Make)?;
    let point = pair.public_key().as_ref();
    let mut public = Vec::new();
    for part in [KIND, CURVE, point] {
        string(&mut public, part);
    }
    // Equal twice: whoever decrypts with a wrong password sees that they differ. There is no password.
    let check = &point[1..5];
    let mut private = [check, check].concat();
    private.extend_from_slice(&public);
    integer(&mut private, scalar.as_ref());
    string(&mut private, comment.as_bytes());
    let padding = (BLOCK - private.len() % BLOCK) % BLOCK;
    private.extend((1..=padding).map(|at| at as u8));

    let mut whole = MAGIC.to_vec();
    for part in [b"none".as_slice(), b"none", b""] {
        string(&mut whole, part);
    }
    whole.extend_from_slice(&1_u32.to_be_bytes());
    string(&mut whole, &public);
    string(&mut whole, &private);
    let public = format!("{} {}", String::from_utf8_lossy(KIND), BASE64.encode(&public));
    Ok(Pair { public, private: PrivateKey(armored(&whole)) })
}

fn armored(bytes: &[u8]) -> String {
    let text = BASE64.encode(bytes);
    let mut armored = "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(LINE) {
        armored.push_str(&String::from_utf8_lossy(line));
        armored.push('\n');
    }
    armored.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    armored
}

fn string(to: &mut Vec<u8>, part: &[u8]) {
    to.extend_from_slice(&(part.len() as u32).to_be_bytes());
    to.extend_from_slice(part);
}

/// Shortest, and never negative.
fn integer(to: &mut Vec<u8>, bytes: &[u8]) {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[first..];
    let sign = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = vec![0; usize::from(sign)];
    whole.extend_from_slice(bytes);
    string(to, &whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_as_short_as_it_can_be_and_never_negative() {
        let written = |bytes: &[u8]| {
            let mut to = Vec::new();
            integer(&mut to, bytes);
            to
        };
        assert_eq!(written(&[0, 0, 0x7f, 1]), [0, 0, 0, 2, 0x7f, 1]);
        assert_eq!(written(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
        assert_eq!(written(&[0]), [0, 0, 0, 0]);
    }

    /// What OpenSSH itself says of both halves.
    #[test]
    fn openssh_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for at in 0..20 {
            let pair = generate(&format!("key {at}")).unwrap();
            std::fs::write(&path, pair.private.reveal()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let Ok(told) = std::process::Command::new("ssh-keygen").args(["-y", "-f"]).arg(&path).output()
            else {
                eprintln!("SKIPPED: there is no ssh-keygen");
                return;
            };
            assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
            let told = String::from_utf8(told.stdout).unwrap();
            assert_eq!(told.trim(), format!("{} key {at}", pair.public));
        }
    }
}
