//! The `ays-host` command.

fn main() -> std::process::ExitCode {
    ays_host::cli::main()
}
