//! Where and by whom: what providers offer for a need, which workers must run, and what anybody may see of it all
//! over HTTP. The broker answers and shows; it decides nothing about a relocation and holds no truth about one, so
//! it can be killed and started again at any moment.

pub mod access;
pub mod audit;
mod broker;
mod error;
mod feed;
mod http;
mod keys;
pub mod placement;
mod queues;
pub mod selection;
mod staffing;
mod survey;
mod view;

pub use broker::{Broker, BrokerOptions};
pub use error::Error;
pub use http::{API_LISTEN_DEFAULT, HttpOptions, TlsFiles};
pub use keys::{Handed, KeyDesk, NoKeys};
pub use survey::offers_now;
