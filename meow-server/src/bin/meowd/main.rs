//! `meowd`, the Meow relay for operators. All of the work is done by the library; here are the command line, the
//! configuration, the data folder and the signals.

mod args;
mod data;
mod info;
mod invite;
mod limits;
mod logs;
mod run;
mod settings;
mod units;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use meow_core::{Error, ErrorKind, Result};

use args::{Args, Command};

/// What one thread allocates another one frees here, at which the system's allocator is slow (docs/decisions/0032).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong usage: what clap itself exits with.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    match dispatch(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e);
            match e.kind() {
                ErrorKind::Usage | ErrorKind::UnknownScheme => ExitCode::from(WRONG_USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Run(options) => run::run(*options),
        Command::Info(options) => info::info(&options),
        Command::Invite(options) => invite::invite(&options),
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "meowd", &mut out);
            print(&out)
        }
    }
}

/// The last word before a failing exit, with what the system said. Other causes may quote what must not be shown. Where
/// standard error is closed, nobody listens.
fn complain(e: &Error) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "meowd: {e}");
    let mut source = std::error::Error::source(e);
    while let Some(cause) = source {
        if let Some(system) = cause.downcast_ref::<std::io::Error>() {
            let _ = writeln!(out, "  because: {system}");
        }
        source = cause.source();
    }
}

/// Writes to standard output, and passes it on at once.
fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|e| Error::new(ErrorKind::System, "cannot write to standard output").with_source(e))
}
