//! The url of RabbitMQ, which holds a password: it is never shown; `AmqpOptions` shows the part that may be.

use std::fmt;

use fluidcloud_proto::bus::amqp::AmqpOptions;
use serde::Deserialize;

#[derive(Clone)]
pub struct AmqpUrl(AmqpOptions);

impl AmqpUrl {
    pub fn options(&self) -> AmqpOptions {
        self.0.clone()
    }
}

impl TryFrom<String> for AmqpUrl {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        AmqpOptions::from_url(given.trim()).map(Self).map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for AmqpUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.display_url())
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrl({self})")
    }
}
