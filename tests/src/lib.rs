//! The harness of the stories in `tests/`: real parts, started by the test and ended by it.

pub mod cli;
pub mod lab;
pub mod openstack;
pub mod process;
pub mod rabbitmq;
pub mod stack;
pub mod wait;
