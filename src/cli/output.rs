//! What a command prints: tables for people, JSON for scripts. Logs go elsewhere, to standard error.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Output { is_json }
    }

    /// JSON where it was asked for, else the text.
    pub(crate) fn either(self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.is_json { print(&json(value)) } else { print(&text()) }
    }

    /// Text for people, who did not ask for JSON.
    pub(crate) fn text(self, text: &str) {
        if !self.is_json {
            print(text);
        }
    }

    /// What went wrong, on standard error.
    pub(crate) fn error(self, sentence: &str) {
        let line = if self.is_json {
            serde_json::json!({ "success": false, "error": sentence }).to_string()
        } else {
            format!("igny8: {sentence}")
        };
        // A reader that has gone is no reason to fail, and there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// A table: with lines on a terminal, whose width it keeps; bare columns, a row a line, in a pipe.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    if io::stdout().is_terminal() {
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_style(presets::NOTHING);
    }
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"success\": false, \"error\": \"{error}\"}}"))
}

fn print(text: &str) {
    // As above: `igny8 routes | head` is fine.
    let _ = writeln!(io::stdout(), "{text}");
}
