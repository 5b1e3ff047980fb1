//! `.env.example` holds exactly the variables that the program reads, in their order, with their defaults, and a sentence
//! for each.

use igny8::config::{Config, VARIABLES};
use std::{collections::BTreeMap, fs, path::Path};

/// Variables of `.env.example`: name, value, and the line before it.
fn example() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example")).expect("a readable .env.example");
    let mut variables = Vec::new();
    let mut before = "";
    for line in text.lines() {
        // A variable is commented out by a bare `#`; a sentence has a blank after it.
        let assignment = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, value)) = assignment.split_once('=')
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        {
            variables.push((name.to_owned(), value.to_owned(), before.to_owned()));
        }
        before = line;
    }
    variables
}

#[test]
fn the_example_holds_exactly_the_variables_that_are_read_with_their_defaults() {
    let read = VARIABLES.iter().map(|variable| (variable.name, variable.default)).collect::<Vec<_>>();

    let example = example();

    let shown = example.iter().map(|(name, value, _)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
    assert_eq!(shown, read);
}

#[test]
fn every_variable_of_the_example_has_its_sentence() {
    for (name, _, before) in example() {
        assert!(before.starts_with("# ") && before.ends_with(['.', '`']), "{name} has no sentence before it: {before:?}");
    }
}

#[test]
fn the_example_as_it_stands_and_uncommented_is_a_valid_configuration() {
    let variables = example().into_iter().map(|(name, value, _)| (name, value)).collect::<BTreeMap<_, _>>();
    let names = variables.keys().cloned().collect::<Vec<_>>();

    let config = Config::parse(&names, |name| variables.get(name).cloned());

    config.unwrap();
}
