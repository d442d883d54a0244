//! Relocations out of, into and between projects of a real OpenStack: `deploy/test --openstack`.

mod between;
mod goods;
mod s2d;
mod shop;
mod undone;
