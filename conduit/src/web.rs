//! The one thing the conduit asks a service itself: an HTTP GET, bounded in time and size. A seam, because a
//! simulated cloud answers from memory.

use std::time::Duration;

use async_trait::async_trait;

/// Longest wait for one answer.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Largest answer read; a longer one is an error.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// `get` returns whatever the server answers, of any status; redirects are not followed. An error means that there
/// was no whole answer, and may be tried again. Cancel-safe.
#[async_trait]
pub trait Web: Send + Sync + std::fmt::Debug {
    async fn get(&self, url: &str) -> Result<Answer, Error>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{url} does not answer")]
    Silent {
        url: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{url} answers more than {ANSWER_BYTES_MAX} bytes")]
    TooLong { url: String },
}

impl Error {
    pub fn retryable(&self) -> bool {
        true
    }

    /// With its causes, in one line.
    pub fn told(&self) -> String {
        let mut told = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            told.push_str(": ");
            told.push_str(&error.to_string());
            cause = error.source();
        }
        told
    }
}

/// Over plain HTTP, straight to the address: no proxy of the environment is asked.
#[derive(Clone, Debug)]
pub struct HttpWeb {
    client: reqwest::Client,
}

impl HttpWeb {
    pub fn new() -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_WAIT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .expect("an HTTP client without TLS needs nothing that could be missing");
        Self { client }
    }
}

impl Default for HttpWeb {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Web for HttpWeb {
    async fn get(&self, url: &str) -> Result<Answer, Error> {
        let silent = |cause: reqwest::Error| Error::Silent {
            url: url.to_owned(),
            cause: Box::new(cause.without_url()),
        };
        let mut response = self.client.get(url).send().await.map_err(silent)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Error::TooLong { url: url.to_owned() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}
