//! Relocations between two real libvirt clouds, as users run them and as the world disturbs them.

mod cancels;
mod kills;
mod pauses;
mod queue;
mod refusals;
mod requests;
mod secrets;
mod shop;
