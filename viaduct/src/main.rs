//! The standalone binary: reads the command line, connects the library's ends, reports. No logic of transfers is here.

mod args;
mod commands;
mod report;

use args::{Cli, Command};
use clap::Parser;
use report::Report;
use std::process::ExitCode;
use viaduct::Error;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("viaduct: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = Report::new(cli.report(), cli.speaks_over_stdio());
    let outcome = runtime.block_on(async {
        let caller = caller_gone(cli.dies_with_stdin());
        tokio::select! {
            outcome = run(cli.command, &report) => outcome,
            () = caller => Err(Error::CallerGone),
        }
    });
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            report.failed(&error);
            error.exit_code()
        }
    };
    // Threads that are blocked in a read must not keep a process alive that has said its last word.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run(command: Command, report: &Report) -> Result<(), Error> {
    match command {
        Command::Identity(args) => commands::identity(&args),
        Command::Receive(args) => commands::receive(args, report).await,
        Command::Send(args) => commands::send(args, report).await,
        Command::Relay(args) => commands::relay(&args, report).await,
        Command::Copy(args) => commands::copy(args, report).await,
        Command::Join { socket } => {
            let joined = tokio::task::spawn_blocking(move || viaduct::join(&socket)).await;
            joined.unwrap_or(Err(Error::CallerGone))
        }
        Command::Digest(args) => commands::digest(&args).await,
        Command::Tree => commands::tree(),
        Command::Serve(args) => commands::serve(args).await,
        Command::Forget(args) => commands::forget(&args),
    }
}

/// Returns when stdin ends, if that is to be watched: whoever started us, over however many hops, is gone.
async fn caller_gone(watch: bool) {
    if !watch {
        return std::future::pending().await;
    }
    let (gone, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let _ = std::io::copy(&mut stdin, &mut std::io::sink());
        let _ = gone.send(());
    });
    let _ = told.await;
}
