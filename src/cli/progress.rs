//! How far a long command is, on standard error: a bar on a terminal, plain lines elsewhere.

use igny8::system::model::{Law, Step};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

/// From one turn of the bar to the next.
const TICK: Duration = Duration::from_millis(200);
/// Entries between two plain lines.
const ENTRIES_PER_LINE: u64 = 1_000_000;

/// Tells the steps of a verification.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Millions of entries that a line was written for.
    told: u64,
}

impl Progress {
    /// Nothing is shown before the first step.
    pub(crate) fn start() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.enable_steady_tick(TICK);
            bar
        });
        Progress { bar, told: 0 }
    }

    /// Shows a step.
    pub(crate) fn tell(&mut self, step: Step) {
        let text = match step {
            Step::Asking(law) => format!("{law} of {}: {}", Law::ALL.len(), law.sentence()),
            Step::Unsealing { done, total } => format!("seals: {done} of {total} rows"),
        };
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => self.write(step, &text),
        }
    }

    /// Shows where a short command is: on a terminal only, for elsewhere nobody waits for it.
    pub(crate) fn show(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// A line for each law, and for each million of rows.
    fn write(&mut self, step: Step, text: &str) {
        let is_new = match step {
            Step::Asking(_) => true,
            Step::Unsealing { done, total } => {
                let before = std::mem::replace(&mut self.told, done / ENTRIES_PER_LINE);
                done == total || before < self.told
            }
        };
        if is_new {
            // A reader that has gone is no reason to fail.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
