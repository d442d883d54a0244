//! Relocations out of, into and between projects of a real OpenStack: `deploy/test --openstack`.

mod between;
mod shop;
mod undone;
