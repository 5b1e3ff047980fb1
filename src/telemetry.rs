//! Log lines, on standard error: for people or for machines. Never a token, a password, a body or an e-mail address.

use crate::config::{Config, LogFormat};
use std::io::IsTerminal as _;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _};

/// Libraries that tell what goes over the wire when they are asked for more: headers, and with them tokens and keys.
/// They are held at this level whatever `LOG_LEVEL` says.
const HELD: [&str; 8] =
    ["h2=info", "hyper=info", "hyper_util=info", "rustls=info", "tower=info", "tower_http=info", "sqlx=warn", "lettre=info"];

/// Why no log can be written.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `LOG_LEVEL` can't be read.
    #[error("LOG_LEVEL: '{0}' is no filter such as info or igny8=debug,warn")]
    Filter(String),
    /// Called twice.
    #[error("the log was started twice")]
    Twice,
}

/// Starts the log of this process, as `LOG_FORMAT` and `LOG_LEVEL` say.
///
/// # Errors
///
/// When the filter can't be read, or the log is running already.
pub fn start(config: &Config) -> Result<(), TelemetryError> {
    let filter = filter(&config.log_level)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).compact().boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    registry().with(lines.with_filter(filter)).try_init().map_err(|_| TelemetryError::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let refused = || TelemetryError::Filter(level.to_owned());
    // A word that is no level would silently become the name of a module that nobody has.
    if level.split(',').any(|part| !part.contains('=') && part.trim().parse::<tracing::level_filters::LevelFilter>().is_err()) {
        return Err(refused());
    }
    let asked = EnvFilter::try_new(level).map_err(|_| refused())?;
    Ok(HELD.iter().filter_map(|directive| directive.parse().ok()).fold(asked, EnvFilter::add_directive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_and_a_filter_are_read_and_anything_else_is_named() {
        for level in ["info", "warn,igny8=debug", "TRACE", "off"] {
            assert!(filter(level).is_ok(), "{level}");
        }

        for wrong in ["loud", "info,verbose", "igny8=loud"] {
            assert_eq!(
                filter(wrong).unwrap_err().to_string(),
                format!("LOG_LEVEL: '{wrong}' is no filter such as info or igny8=debug,warn")
            );
        }
    }

    #[test]
    fn what_speaks_of_headers_stays_held_at_trace() {
        let filter = filter("trace,h2=trace").unwrap().to_string();

        assert!(HELD.iter().all(|held| filter.split(',').any(|directive| directive == *held)), "{filter}");
        assert!(!filter.contains("h2=trace"), "{filter}");
    }
}
