//! Where the broker is and who we are to it. The only place that holds the password; nothing here prints it.

use std::fmt;
use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};

use crate::bus::Error;

/// How long the first connect tries before it gives up, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);
/// A peer silent for this long is gone. Without it a cut cable would hold a publish for many minutes.
const HEARTBEAT_SECS: u16 = 10;

#[derive(Clone)]
pub struct AmqpOptions {
    pub(super) uri: AMQPUri,
    pub(super) client_name: String,
    pub(super) ca_pem: Option<String>,
    pub(super) patience: Duration,
}

impl AmqpOptions {
    /// `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://` for TLS. What is left out is guest, 5672 (5671) and
    /// the virtual host `/`.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        // The reasons of the parser may quote the url with its password, so they are looked at and not repeated.
        let mut uri: AMQPUri = url.parse().map_err(|reason: String| {
            let what =
                if reason.contains("scheme") || !url.contains("://") { "the scheme" } else { "a part" };
            Error::InvalidUrl(format!("{what} of it cannot be read"))
        })?;
        if uri.authority.host.is_empty() {
            return Err(Error::InvalidUrl("it names no host".into()));
        }
        if uri.vhost.is_empty() {
            // A url that ends in `/` means the default virtual host to everyone who writes one.
            uri.vhost = "/".into();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
        Ok(Self { uri, client_name: "fluidcloud".into(), ca_pem: None, patience: PATIENCE })
    }

    /// Shown by the broker as the name of the connection.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// For a password that is kept apart from the url, in a file or the environment.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.uri.authority.userinfo.password = password.into();
        self
    }

    /// Certificates, as PEM, that are trusted for `amqps://` besides those of the system.
    pub fn ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// How long the first connect waits for a broker that does not answer yet.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Without user and password.
    pub fn display_url(&self) -> String {
        let scheme = match self.uri.scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        let vhost = if self.uri.vhost == "/" { "" } else { self.uri.vhost.as_str() };
        format!("{scheme}://{}:{}/{vhost}", self.uri.authority.host, self.uri.authority.port)
    }

    pub(super) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(super) fn tls(&self) -> OwnedTLSConfig {
        OwnedTLSConfig { cert_chain: self.ca_pem.clone(), ..OwnedTLSConfig::default() }
    }
}

impl fmt::Debug for AmqpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpOptions")
            .field("url", &self.display_url())
            .field("user", &self.user())
            .field("client_name", &self.client_name)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_the_password() {
        let options = AmqpOptions::from_url("amqp://ferry:s3cret@bus.example:5673/cloud").unwrap();
        assert_eq!(options.display_url(), "amqp://bus.example:5673/cloud");
        assert!(!format!("{options:?}").contains("s3cret"));
        for url in
            ["http://ferry:s3cret@bus", "ferry:s3cret", "amqp://ferry:s3cret@:x/", "amqp:ferry:s3cret@h"]
        {
            let error = AmqpOptions::from_url(url).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_a_url_leaves_out_has_the_usual_values() {
        for url in ["amqp://localhost", "amqp://localhost/", "amqp://localhost:5672/%2f"] {
            let options = AmqpOptions::from_url(url).unwrap();
            assert_eq!(options.uri.vhost, "/");
            assert_eq!(options.user(), "guest");
            assert_eq!(options.display_url(), "amqp://localhost:5672/");
        }
        assert_eq!(AmqpOptions::from_url("amqps://localhost").unwrap().uri.authority.port, 5671);
    }
}
