//! Meeting through a relay: both ends call it, name the same place, and get a stream to each other. Owns what is said to the
//! relay, which is no more than needed to find the other one: everything after that is TLS between the two ends, whose keys
//! the relay does not have.
//!
//! ```text
//! end -> relay   "viaduct-relay/1"  role:1 (s or r)  place:32  pass:32
//! relay -> end   w* (wait)  then  p (paired: from here on the other end speaks)  or  d (denied)  or  f (full)
//! ```

use super::Fingerprint;
use super::tls::prepare;
use crate::error::{Error, Result};
use crate::limits::{HANDSHAKE, RELAY_SILENT};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const MAGIC: &[u8; 15] = b"viaduct-relay/1";
pub const CALL_BYTES: usize = MAGIC.len() + 1 + 32 + 32;

/// What the relay answers, one byte each.
pub const WAIT: u8 = b'w';
pub const PAIRED: u8 = b'p';
pub const DENIED: u8 = b'd';
pub const FULL: u8 = b'f';

/// Which end calls. One of each meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Sender,
    Receiver,
}

impl Role {
    pub fn other(self) -> Role {
        match self {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        }
    }
}

/// A place at a relay, which only those can name who know both ends' fingerprints, and the token if there is one.
pub type Place = [u8; 32];

/// What is said first on a connection to a relay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub role: Role,
    pub place: Place,
    /// Proves to a relay with a token that the caller has it too; anything where there is none.
    pub pass: [u8; 32],
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever reads a log need not know where others meet.
        f.debug_struct("Call").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Call {
    pub fn encode(&self) -> [u8; CALL_BYTES] {
        let mut bytes = [0; CALL_BYTES];
        bytes[..15].copy_from_slice(MAGIC);
        bytes[15] = match self.role {
            Role::Sender => b's',
            Role::Receiver => b'r',
        };
        bytes[16..48].copy_from_slice(&self.place);
        bytes[48..].copy_from_slice(&self.pass);
        bytes
    }

    pub fn decode(bytes: &[u8; CALL_BYTES]) -> Option<Call> {
        let role = match bytes[15] {
            b's' => Role::Sender,
            b'r' => Role::Receiver,
            _ => return None,
        };
        let (mut place, mut pass) = ([0; 32], [0; 32]);
        place.copy_from_slice(&bytes[16..48]);
        pass.copy_from_slice(&bytes[48..]);
        (bytes.starts_with(MAGIC)).then_some(Call { role, place, pass })
    }
}

/// A secret shared by both ends, and by the relay if it is to carry for those only who have it. Debug shows nothing of it.
#[derive(Clone, Copy)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// From a file, since a command line is seen by everybody on the host. Space around it does not count.
    pub fn load(path: &Path) -> Result<Token> {
        let text =
            std::fs::read(path).map_err(|error| Error::io("read the token in", path.display(), error))?;
        let text = text.trim_ascii();
        if text.len() < 16 {
            return Err(Error::usage(
                format!("the token in {}", path.display()),
                "it is shorter than 16 bytes",
                "make one with `openssl rand -hex 32`",
            ));
        }
        Ok(Token(blake3::derive_key("fluidcloud viaduct relay token v1", text)))
    }

    /// What proves the token for a place, and says nothing about it for any other.
    pub fn pass(&self, place: &Place) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, place).as_bytes()
    }

    /// Takes the same time whatever is wrong.
    pub fn proven_by(&self, call: &Call) -> bool {
        blake3::keyed_hash(&self.0, &call.place) == blake3::Hash::from_bytes(call.pass)
    }
}

/// Where two ends meet.
#[derive(Clone)]
pub struct Rendezvous {
    relay: String,
    place: Place,
    pass: [u8; 32],
}

impl std::fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendezvous").field("relay", &self.relay).finish_non_exhaustive()
    }
}

impl Rendezvous {
    /// `relay` is HOST:PORT. Both ends come to the same place if they mean each other and have the same token.
    pub fn new(relay: &str, sender: Fingerprint, receiver: Fingerprint, token: Option<&Token>) -> Rendezvous {
        let mut hasher = blake3::Hasher::new_derive_key("fluidcloud viaduct relay place v1");
        for part in [sender.bytes(), receiver.bytes(), &token.map_or([0; 32], |token| token.0)] {
            hasher.update(part);
        }
        let place = *hasher.finalize().as_bytes();
        let pass = token.map_or([0; 32], |token| token.pass(&place));
        Rendezvous { relay: relay.to_owned(), place, pass }
    }

    pub fn relay(&self) -> &str {
        &self.relay
    }

    /// A connection on which the relay knows whom we wait for.
    pub async fn call(&self, role: Role) -> Result<Waiting> {
        let unreachable = |source| Error::Unreachable { whom: format!("relay {}", self.relay), source };
        let calling = async {
            let mut socket = TcpStream::connect(&self.relay).await.map_err(unreachable)?;
            prepare(&socket);
            let call = Call { role, place: self.place, pass: self.pass };
            socket.write_all(&call.encode()).await.map_err(|error| self.broken(&error))?;
            Ok(socket)
        };
        let late = |_| unreachable(std::io::ErrorKind::TimedOut.into());
        let socket = tokio::time::timeout(HANDSHAKE, calling).await.map_err(late)??;
        Ok(Waiting { socket, rendezvous: self.clone() })
    }

    /// A stream to the receiver who waits there, or will within a handshake's time.
    pub async fn call_receiver(&self) -> Result<TcpStream> {
        let waiting = self.call(Role::Sender).await?;
        let nobody = |_| Error::NobodyWaits { relay: self.relay.clone(), secs: HANDSHAKE.as_secs() };
        tokio::time::timeout(HANDSHAKE, waiting.paired()).await.map_err(nobody)?
    }

    fn broken(&self, error: &std::io::Error) -> Error {
        Error::Broken { whom: format!("relay {}", self.relay), why: error.to_string() }
    }
}

/// Called, not yet paired.
#[derive(Debug)]
pub struct Waiting {
    socket: TcpStream,
    rendezvous: Rendezvous,
}

impl Waiting {
    /// Whether the relay lets us wait: an error it tells at once is better told at once.
    pub async fn welcomed(mut self) -> Result<Waiting> {
        let mut first = [0];
        let silent = |_| self.rendezvous.silent();
        let heard = tokio::time::timeout(RELAY_SILENT, self.socket.peek(&mut first)).await.map_err(silent)?;
        match heard.map_err(|error| self.rendezvous.broken(&error))? {
            1 if matches!(first[0], WAIT | PAIRED) => Ok(self),
            _ => self.answer().await.map(|_| self),
        }
    }

    /// Returns when the next byte on the stream is one of the other end.
    pub async fn paired(mut self) -> Result<TcpStream> {
        while !self.answer().await? {}
        Ok(self.socket)
    }

    /// The relay's next word: whether the other end is there.
    async fn answer(&mut self) -> Result<bool> {
        let relay = || self.rendezvous.relay.clone();
        let said = tokio::time::timeout(RELAY_SILENT, self.socket.read_u8()).await;
        match said.map_err(|_| self.rendezvous.silent())? {
            Ok(WAIT) => Ok(false),
            Ok(PAIRED) => Ok(true),
            Ok(DENIED) => Err(Error::Relay { relay: relay(), why: "it does not accept our token".into() }),
            Ok(FULL) => Err(Error::Broken {
                whom: format!("relay {}", relay()),
                why: "it has as many connections as it may, or as one address may have".into(),
            }),
            Ok(_) => Err(Error::Relay { relay: relay(), why: "no viaduct relay answers there".into() }),
            Err(error) => Err(self.rendezvous.broken(&error)),
        }
    }
}

impl Rendezvous {
    fn silent(&self) -> Error {
        Error::Silent { whom: format!("relay {}", self.relay), secs: RELAY_SILENT.as_secs() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_differ_by_everything_they_are_made_of() {
        let ends = ["11", "22"].map(|byte| format!("sha256:{}", byte.repeat(32)).parse().unwrap());
        let (a, b) = (Token([1; 32]), Token([2; 32]));
        let place = |sender: usize, receiver: usize, token: Option<&Token>| {
            Rendezvous::new("relay:1", ends[sender], ends[receiver], token).place
        };
        let all = [place(0, 1, None), place(1, 0, None), place(0, 1, Some(&a)), place(0, 1, Some(&b))];
        for (number, one) in all.iter().enumerate() {
            assert!(!all[..number].contains(one), "{number}");
        }
        assert_eq!(place(0, 1, Some(&a)), all[2]);
    }

    #[test]
    fn a_pass_holds_for_its_place_and_token_only() {
        let (a, b) = (Token([1; 32]), Token([2; 32]));
        let call = Call { role: Role::Sender, place: [7; 32], pass: a.pass(&[7; 32]) };
        assert!(a.proven_by(&call));
        assert!(!b.proven_by(&call));
        assert!(!a.proven_by(&Call { place: [8; 32], ..call }));
        assert!(!a.proven_by(&Call { pass: [0; 32], ..call }));
    }

    proptest! {
        #[test]
        fn a_call_survives_the_wire_and_nothing_else_is_one(sender: bool, place: [u8; 32], pass: [u8; 32], at in 0usize..16, bit in 0u8..8) {
            let role = if sender { Role::Sender } else { Role::Receiver };
            let call = Call { role, place, pass };
            let mut bytes = call.encode();
            prop_assert!(Call::decode(&bytes).is_some_and(|decoded| decoded == call));
            bytes[at] ^= 1 << bit;
            // Flipping one bit of the role may make it the other role, of the name never.
            prop_assert!(Call::decode(&bytes).is_none_or(|decoded| at == 15 && decoded.role != role));
        }
    }
}
