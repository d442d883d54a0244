//! Relocations out of, into and between projects of a real OpenStack: `deploy/test --openstack`.

mod between;
mod failures;
mod goods;
mod imageway;
mod pair;
mod s2d;
mod shop;
mod timed;
mod undone;
