//! What a hostile sender can do to the receiver, searched by libFuzzer.

#![no_main]

#[path = "../receiver.rs"]
mod receiver;

libfuzzer_sys::fuzz_target!(|input: &[u8]| receiver::run(input));
