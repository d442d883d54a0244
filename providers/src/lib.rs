//! Clouds and hypervisors behind one trait. A driver acts on its provider and reports; it decides nothing about a
//! relocation. [`Provider`] is the contract, `conformance` holds every driver to it.

pub mod bytes;
pub mod config;
pub mod conformance;
pub mod disk_images;
pub mod error;
pub mod furnishing;
pub mod image_store;
pub mod keepsakes;
pub mod libvirt;
pub mod memory;
pub mod object_store;
pub mod openstack;
pub mod provider;
pub mod registry;
pub mod site;
pub mod volumes;

pub use bytes::{ByteStream, Source};
pub use config::{Accel, ProviderConfig, SiteConfig, SshConfig};
pub use disk_images::{Arrival, Inlet, Outlet, Window};
pub use error::Error;
pub use furnishing::{Decision, Furnishing, GroupWanted, KeyWanted, Size};
pub use image_store::{ImageOrder, ImageStore};
pub use keepsakes::{KeepOrder, Keepsakes, SnapshotOrder};
pub use object_store::{ContainerOrder, Listed, Object, ObjectKind, ObjectStore, Page, Segment};
pub use provider::{
    DiskOrder, GuestWork, InstanceOrder, Launched, Made, Moment, Period, Provider, Reservation, Stopped,
};
pub use registry::Registry;
pub use site::{Command, Line, LocalSite, Login, Running, Site};
pub use volumes::Volumes;
