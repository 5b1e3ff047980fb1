//! Which build is this? Commit, state of the sources and time, as `build.rs` wrote them into the binary.
//!
//! They belong to the moment `build.rs` ran: that is each time a file that enters the binary, or git's current commit,
//! had changed. Changes to anything else (docs, tests) make no build dirty, because they are not in it.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// The running build.
pub const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("IGNY8_GIT_COMMIT"),
    dirty: is_true(env!("IGNY8_GIT_DIRTY")),
    built_at: env!("IGNY8_BUILD_TIME"),
};

/// How many hexadecimal digits of a commit people are shown.
const COMMIT_DIGITS_SHOWN: usize = 12;

/// What tells one build from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BuildInfo {
    /// The version in Cargo.toml.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// The full git commit, or `unknown` when it was built without git and nobody named one.
    #[schema(example = "4b825dc642cb6eb9a060e54bf8d69288fbee4904")]
    pub commit: &'static str,
    /// Whether sources that entered the binary differed from the commit. True also when the commit is unknown.
    pub dirty: bool,
    /// When it was built: RFC 3339, UTC, whole seconds.
    #[schema(format = DateTime, example = "2026-03-01T12:00:00Z")]
    pub built_at: &'static str,
}

impl fmt::Display for BuildInfo {
    /// One line for people: `igny8 0.1.0 (commit 4b825dc642cb, built 2026-03-01T12:00:00Z)`; changed sources are
    /// told by `with changes` after the commit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.get(..COMMIT_DIGITS_SHOWN).unwrap_or(self.commit);
        let changes = if self.dirty { " with changes" } else { "" };
        write!(f, "igny8 {} (commit {commit}{changes}, built {})", self.version, self.built_at)
    }
}

/// `==` on strings is not yet const.
const fn is_true(text: &str) -> bool {
    matches!(text.as_bytes(), b"true")
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SubsecRound};

    use super::*;

    const SAMPLE: BuildInfo =
        BuildInfo { version: "0.1.0", commit: "4b825dc642cb6eb9a060e54bf8d69288fbee4904", dirty: false, built_at: "2026-03-01T12:00:00Z" };

    #[test]
    fn a_build_is_shown_in_one_line_with_a_short_commit() {
        assert_eq!(SAMPLE.to_string(), "igny8 0.1.0 (commit 4b825dc642cb, built 2026-03-01T12:00:00Z)");
    }

    #[test]
    fn changed_sources_are_named() {
        let changed = BuildInfo { dirty: true, ..SAMPLE };

        assert_eq!(changed.to_string(), "igny8 0.1.0 (commit 4b825dc642cb with changes, built 2026-03-01T12:00:00Z)");
    }

    #[test]
    fn an_unknown_commit_is_shown_as_it_is() {
        let unknown = BuildInfo { commit: "unknown", ..SAMPLE };

        assert_eq!(unknown.to_string(), "igny8 0.1.0 (commit unknown, built 2026-03-01T12:00:00Z)");
    }

    #[test]
    fn this_build_names_its_version_its_full_commit_and_a_whole_second_in_utc() {
        let is_hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let full = matches!(BUILD.commit.len(), 40 | 64) && BUILD.commit.bytes().all(is_hexadecimal);
        let built_at = DateTime::parse_from_rfc3339(BUILD.built_at).expect("a time by RFC 3339");

        assert_eq!(BUILD.version, env!("CARGO_PKG_VERSION"));
        assert!(full || (BUILD.commit == "unknown" && BUILD.dirty), "{BUILD:?}");
        assert!(BUILD.built_at.ends_with('Z'));
        assert_eq!(built_at, built_at.trunc_subsecs(0));
    }

    #[test]
    fn the_build_is_serialised_field_by_field() {
        let json = serde_json::to_value(SAMPLE).expect("strings and a bool");

        assert_eq!(
            json,
            serde_json::json!({
                "version": "0.1.0",
                "commit": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
                "dirty": false,
                "built_at": "2026-03-01T12:00:00Z",
            })
        );
    }
}
