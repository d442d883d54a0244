//! Names of containers and objects as parts of an address. Names may hold anything; an address may not.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::Error;

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const WITH_SLASHES: &AsciiSet = &PLAIN.remove(b'/');

pub(super) fn container(name: &str) -> Result<String, Error> {
    Ok(format!("/{}", utf8_percent_encode(addressable(name)?, PLAIN)))
}

pub(super) fn object(container: &str, name: &str) -> Result<String, Error> {
    let name = addressable(name)?;
    // `.` and `..` between slashes mean something in an address, and then another object would be meant.
    let dotted = name.split('/').any(|part| matches!(part, "." | ".."));
    let name = utf8_percent_encode(name, if dotted { PLAIN } else { WITH_SLASHES });
    Ok(format!("{}/{name}", self::container(container)?))
}

/// As in the headers and manifests that name an object.
pub(super) fn pair(container: &str, name: &str) -> String {
    format!("{}/{}", utf8_percent_encode(container, PLAIN), utf8_percent_encode(name, WITH_SLASHES))
}

/// `container/name`, encoded.
pub(super) fn of_pair(given: &str) -> Option<(String, String)> {
    let decoded = percent_decode_str(given.trim_start_matches('/')).decode_utf8().ok()?;
    let (container, name) = decoded.split_once('/')?;
    Some((container.to_owned(), name.to_owned()))
}

/// A name where only ASCII is safe.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

pub(super) fn decoded(name: &str) -> Option<String> {
    Some(percent_decode_str(name).decode_utf8().ok()?.into_owned())
}

fn addressable(name: &str) -> Result<&str, Error> {
    if !matches!(name, "" | "." | "..") {
        return Ok(name);
    }
    Err(Error::Unsupported {
        provider: "of the object store".to_owned(),
        what: format!("name anything `{name}` in an address"),
        remedy: "give it another name at the source".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_the_object_and_no_other() {
        assert_eq!(object("c d", "a/b c?#%.txt").unwrap(), "/c%20d/a/b%20c%3F%23%25.txt");
        assert_eq!(object("c", "a/../b").unwrap(), "/c/a%2F..%2Fb");
        let url = reqwest::Url::parse(&format!("http://x/v1/a{}", object("c", "a/../b").unwrap())).unwrap();
        assert_eq!(url.path(), "/v1/a/c/a%2F..%2Fb");
        assert!(object("c", "..").is_err() && container(".").is_err());
    }

    #[test]
    fn a_manifest_is_read_as_it_is_written() {
        let (container, name) = ("größe 1", "a/b c%/00001");
        assert_eq!(of_pair(&pair(container, name)), Some((container.to_owned(), name.to_owned())));
        assert_eq!(of_pair("/c/a"), Some(("c".to_owned(), "a".to_owned())));
        assert_eq!(of_pair("c"), None);
    }
}
