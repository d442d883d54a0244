//! The one binary `fluidcloud`: every role and every user command. It wires the parts together and talks to people;
//! what a relocation does is decided elsewhere.

mod addresses;
mod api;
mod args;
mod bus;
mod commands;
mod config;
mod csv;
mod fault;
mod follow;
mod logging;
mod output;
mod report;
mod service;
mod table;
mod tokens;
mod units;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = format!("cannot start: {error}");
            return fault::Fault::failed(what, "see the limits on processes and open files of this user")
                .tell();
        }
    };
    let told = runtime.block_on(commands::run(args));
    // A role has ended everything it waits for; what is left, such as a blocked read of standard input, is not
    // waited for.
    runtime.shutdown_background();
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.tell(),
    }
}
