//! The command line. Data goes to standard output, talk to standard error; the exit code is 0 when it is done, 1 when
//! it failed, 2 when it was called wrongly.

mod ask;
mod build;
mod check;
mod client;
mod code_cache;
mod compiling;
mod doctor;
mod inspect;
mod keygen;
mod kinds;
mod limits;
mod look;
mod password;
mod pull;
mod push;
mod registry;
mod serve;
mod sign;
mod size;
mod table;
mod trust;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs event- and schedule-driven actors, each a sandboxed WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "ays-host", version, about, max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host: load actors, apply blueprints, take events and ticks, until Ctrl-C or SIGTERM
    Serve(Box<serve::Args>),
    /// Apply blueprints to a running host
    Apply(ask::Apply),
    /// Validate blueprints and HRD files and print the plan, without a host
    Check(check::Args),
    /// Run an action on the matching services
    Run(ask::Run),
    /// Send an event
    Emit(ask::Emit),
    /// Compile actors to components, with cargo
    Build(build::Args),
    /// Say whether a host would run here, and what endangers what it keeps
    Doctor(doctor::Args),
    /// Show what a component is: its manifest, what it asks for, and who signed it
    Inspect(inspect::Args),
    /// Make a pair of keys that sign components, in minisign's format
    Keygen(keygen::Args),
    /// Sign components: FILE.wasm.minisig beside each
    Sign(sign::Args),
    /// Say whether a trusted key signed components
    Verify(verify::Args),
    /// Put a component and its signature into an OCI registry
    Push(push::Args),
    /// Fetch a component and its signature from an OCI registry
    Pull(pull::Args),
    /// The actors that the host has loaded, and new versions of them
    #[command(subcommand)]
    Actors(look::Actors),
    /// The services
    #[command(subcommand)]
    Services(look::Look<kinds::OfActor, kinds::ServiceKey>),
    /// The event filters
    #[command(subcommand)]
    Filters(look::Look<kinds::OfEvent, kinds::FilterId>),
    /// The recurring actions
    #[command(subcommand)]
    Schedules(look::Look<kinds::OfService, kinds::ScheduleId>),
    /// The jobs: those that wait or run, and the history
    #[command(subcommand)]
    Jobs(look::Jobs),
    /// The dead-letter list: jobs that failed for good, and entries that could not be understood
    #[command(subcommand)]
    Dead(look::Dead),
    /// Events that no event filter took
    #[command(subcommand)]
    Events(look::Look<kinds::All, kinds::EventId>),
    /// Compile a component from standard input to standard output: what a host has a process of its own do
    #[command(name = compiling::COMMAND, hide = true)]
    CompileComponent(compiling::Child),
}

/// Why a command ended with 1: its own words have been written already.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct AlreadyTold;

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Serve(args) => serve::run(*args),
        Command::Apply(args) => ask::apply(args),
        Command::Check(args) => check::run(&args),
        Command::Run(args) => ask::run(args),
        Command::Emit(args) => ask::emit(args),
        Command::Build(args) => build::run(&args),
        Command::Doctor(args) => doctor::run(args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Push(args) => push::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Actors(actors) => look::actors(actors),
        Command::Services(look) => look::look("services", look),
        Command::Filters(look) => look::look("filters", look),
        Command::Schedules(look) => look::look("schedules", look),
        Command::Events(look) => look::look("events", look),
        Command::Jobs(jobs) => look::jobs(jobs),
        Command::Dead(dead) => look::dead(dead),
        Command::CompileComponent(child) => return compiling::child(&child),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<AlreadyTold>() {
                eprintln!("ays-host: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes data to standard output. A reader that has had enough, as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write as _};
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Writes JSON to standard output, indented, with a line end.
fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}
