//! Log lines, on standard error: for people or for machines. Never a token, a password, a body or an e-mail address.

use crate::config::{Config, LogFormat};
use std::io::IsTerminal as _;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _};

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
    subscriber(filter, config.log_format, std::io::stderr).try_init().map_err(|_| TelemetryError::Twice)
}

fn subscriber<W>(filter: EnvFilter, format: LogFormat, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer::<Registry>().with_writer(writer);
    let lines = match format {
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).compact().boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // The filter stands before all lines, not at a layer: there, a record of the `log` crate that it refuses would take the
    // next event on that thread along.
    registry().with(lines).with(filter)
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
    use std::{
        io,
        sync::{Arc, Mutex},
    };
    use tracing::{Dispatch, Event, Level, Metadata, dispatcher::with_default};
    use tracing_subscriber::layer::Context;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Keeps what an event is.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Option<&'static Metadata<'static>>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().unwrap() = Some(event.metadata());
        }
    }

    #[test]
    fn what_is_refused_takes_no_other_line_along() {
        let (seen, kept) = (Seen::default(), Kept::default());
        with_default(&Dispatch::new(registry().with(seen.clone())), || tracing::event!(target: "sqlx", Level::INFO, "refused"));
        let refused = seen.0.lock().unwrap().unwrap();
        let writer = kept.clone();
        let log = Dispatch::new(subscriber(filter("warn").unwrap(), LogFormat::Json, move || writer.clone()));

        // What the `log` crate's records do: they ask first.
        let is_wanted = with_default(&log, || {
            tracing::warn!("the first");
            let is_wanted = tracing::dispatcher::get_default(|log| log.enabled(refused));
            tracing::warn!("the second");
            is_wanted
        });

        let lines = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(!is_wanted && lines.contains("the first") && lines.contains("the second"), "{lines}");
    }

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
