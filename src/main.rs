//! The command line of IGNY8's backend; `igny8 --help` tells all of it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
