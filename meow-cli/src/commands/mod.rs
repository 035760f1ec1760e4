//! One file per command.

mod card;
mod contacts;
mod direct;
mod doctor;
mod hop;
mod init;
mod log;
mod password;
mod policy;
mod qr;
mod receive;
mod rotate;
mod route;
mod send;
mod server;
mod signals;
mod status;
mod verify;

use std::io;

use clap::CommandFactory;

use crate::args::{CardCommand, Cli, Command};
use crate::context::Context;
use crate::exit::{Exit, Failure, system};

/// How a command ends.
type Outcome = Result<Exit, Failure>;

/// Runs a command to its end.
pub(crate) async fn run(context: Context, command: Command) -> Outcome {
    match command {
        Command::Init(args) => init::run(&context, args).await,
        Command::Server(args) => server::run(&context, args).await,
        Command::Hop(args) => hop::run(&context, args).await,
        Command::Policy(args) => policy::run(&context, args).await,
        Command::Route(args) => route::run(&context, args).await,
        Command::Card(CardCommand::New(args)) => card::new(&context, args).await,
        Command::Card(CardCommand::Take(args)) => card::take(&context, args).await,
        Command::Contacts { presence } => contacts::list(&context, presence).await,
        Command::Direct(args) => direct::run(&context, args).await,
        Command::Contact(args) => contacts::change(&context, args).await,
        Command::Verify(args) => verify::run(&context, args).await,
        Command::Send(args) => send::run(&context, args).await,
        Command::Receive(args) => receive::run(&context, args).await,
        Command::Status(args) => status::run(&context, args).await,
        Command::Log(args) => log::run(&context, args).await,
        Command::Password(args) => password::run(&context, args).await,
        Command::Doctor => doctor::run(&context).await,
        Command::Rotate(args) => rotate::run(&context, args).await,
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "meow", &mut script);
    io::Write::write_all(&mut io::stdout(), &script)
        .map_err(|e| system("standard output cannot be written", e))?;
    Ok(Exit::Done)
}
