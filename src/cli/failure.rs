//! How a command fails: one sentence and an exit code.

use super::output::Output;
use igny8::{
    config::ConfigErrors,
    db::{DatabaseError, StoreError},
    embedded::EmbeddedError,
    telemetry::TelemetryError,
};
use std::{error::Error, process::ExitCode};

const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const VIOLATED: u8 = 3;

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Empty where everything was said already.
    sentence: String,
    code: u8,
}

impl Failure {
    /// Something went wrong.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Failure { sentence: sentence.into(), code: FAILED }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn misused(sentence: impl Into<String>) -> Self {
        Failure { sentence: sentence.into(), code: MISUSED }
    }

    /// Laws are broken; which ones was told already.
    pub(crate) fn violated() -> Self {
        Failure { sentence: String::new(), code: VIOLATED }
    }

    /// It failed, and what failed was told already.
    pub(crate) fn told_already() -> Self {
        Failure { sentence: String::new(), code: FAILED }
    }

    /// A command that we ran ended with this code, and told what it had to tell.
    pub(crate) fn of_command(code: u8) -> Self {
        Failure { sentence: String::new(), code }
    }

    /// Tells it and gives the exit code.
    pub(crate) fn told(self, output: Output) -> ExitCode {
        if !self.sentence.is_empty() {
            output.error(&self.sentence);
        }
        ExitCode::from(self.code)
    }
}

/// An error with its causes, each said once.
pub(crate) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::misused(errors.to_string())
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        match error {
            TelemetryError::Filter(_) => Failure::misused(error.to_string()),
            TelemetryError::Twice => Failure::failed(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Url(..) | DatabaseError::Settings | DatabaseError::SharedSessions => Failure::misused(whole(&error)),
            DatabaseError::Connect(_) | DatabaseError::Migrate(_) | DatabaseError::Newer { .. } | DatabaseError::Query(_) => {
                Failure::failed(whole(&error))
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::failed(whole(&error))
    }
}

impl From<EmbeddedError> for Failure {
    fn from(error: EmbeddedError) -> Self {
        match error {
            EmbeddedError::BinDir(_) => Failure::misused(whole(&error)),
            _ => Failure::failed(whole(&error)),
        }
    }
}
