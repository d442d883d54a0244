//! The viaduct as its users run it: the real binary, real sockets, real disks, real sshd and qemu-nbd. One story per file;
//! one test binary, since linking is what takes its time.

mod canceled;
mod carry;
mod corrupted;
mod devices;
mod ends;
mod far;
mod fencing;
mod finish;
mod full;
mod fuzzed;
mod hooked;
mod hostile;
mod images;
mod interrupted;
mod killed;
mod lab;
mod live;
mod memory;
mod progress;
mod relay;
mod reuse;
mod seeds;
mod ssh;
mod streams;
mod torn;
mod trees;
