//! Bytes in bulk on their way from one provider's API to another's: never whole in memory, and opened anew for each attempt,
//! as what was sent cannot be sent again.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Error;

/// In pieces, in order. After an error nothing comes.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// Where bytes come from. Each `open` gives all of them, from the first on.
#[async_trait]
pub trait Source: Send + Sync {
    async fn open(&self) -> Result<ByteStream, Error>;
}
