//! The command line of IGNY8's backend; `igny8 --help` tells all of it.

mod cli;

use std::process::ExitCode;

/// Requests are short-lived small pieces; the system's allocator spent an eighth of the time under load on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
