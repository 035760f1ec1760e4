//! `meow`, the program for people and for scripts: one command, one action, over the library `meow-client`.
//!
//! What a command prints goes to standard output, one record a line; what went wrong goes to standard error and
//! into the exit code. Nothing here knows the protocol.

mod args;
mod commands;
mod context;
mod events;
mod exit;
mod logs;
mod output;
mod password;
mod reach;
mod records;
mod text;
mod utc;

use std::process::ExitCode;
use std::time::Duration;

use crate::context::Context;
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let json = cli.json;
    logs::start(cli.verbose, json);
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(json).into(),
    }
}

fn run(cli: args::Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| exit::system("no threads can be started", e))?;
    let exit = runtime.block_on(commands::run(Context::new(&cli), cli.command));
    // The store must be closed before the process ends: its library must not run beside the C library's exit.
    // Only a name look-up can take longer.
    runtime.shutdown_timeout(Duration::from_secs(10));
    exit
}
