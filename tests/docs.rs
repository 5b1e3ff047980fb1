//! What docs/ says is so: every code is in api.md, every file that architecture.md names is there, and every test that
//! ledger.md calls as a witness exists.

use regex_lite::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The map fits on a page or two.
const MAP_LINES_MAX: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap_or_else(|error| panic!("docs/{name}: {error}"))
}

/// All Rust below a folder.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a readable source");
                found.push((path, text));
            }
        }
    }
    found
}

/// Codes and the statuses they come with, as the sources make problems of them.
fn codes_in_sources() -> BTreeMap<String, BTreeSet<String>> {
    let pattern = |text: &str| Regex::new(text).expect("a pattern");
    let of_status = pattern(r#"Problem::new\(\s*StatusCode::([A-Z_]+),\s*"([a-z_]+)""#);
    let of_own_status = pattern(r#"Self::new\(\s*StatusCode::([A-Z_]+),\s*"([a-z_]+)""#);
    let bare = pattern(r#"StatusCode::([A-Z_]+) => \("([a-z_]+)","#);
    let any_client_error = pattern(r#"is_client_error\(\) => \("([a-z_]+)","#);
    let named = pattern(r#"(?:Problem|Self)::(unauthenticated|forbidden|conflict|refused|busy)\(\s*"([a-z_]+)""#);
    let mut codes = BTreeMap::<String, BTreeSet<String>>::new();
    let mut put = |code: &str, status: &str| codes.entry(code.to_owned()).or_default().insert(status.to_owned());
    for (_, text) in sources("src") {
        for found in [&of_status, &of_own_status, &bare].into_iter().flat_map(|pattern| pattern.captures_iter(&text)) {
            put(&found[2], number(&found[1]));
        }
        for found in named.captures_iter(&text) {
            put(&found[2], number(&found[1]));
        }
        for found in any_client_error.captures_iter(&text) {
            put(&found[1], "4xx");
        }
    }
    codes
}

/// The number of a status by its name, or by the name of what makes a problem with it.
fn number(name: &str) -> &'static str {
    match name {
        "BAD_REQUEST" => "400",
        "UNAUTHORIZED" | "unauthenticated" => "401",
        "PAYMENT_REQUIRED" => "402",
        "FORBIDDEN" | "forbidden" => "403",
        "NOT_FOUND" => "404",
        "METHOD_NOT_ALLOWED" => "405",
        "REQUEST_TIMEOUT" => "408",
        "CONFLICT" | "conflict" => "409",
        "GONE" => "410",
        "PAYLOAD_TOO_LARGE" => "413",
        "URI_TOO_LONG" => "414",
        "UNSUPPORTED_MEDIA_TYPE" => "415",
        "UNPROCESSABLE_ENTITY" | "refused" => "422",
        "TOO_MANY_REQUESTS" => "429",
        "REQUEST_HEADER_FIELDS_TOO_LARGE" => "431",
        "INTERNAL_SERVER_ERROR" => "500",
        "SERVICE_UNAVAILABLE" | "busy" => "503",
        other => panic!("which number has {other}? Add it here"),
    }
}

#[test]
fn every_code_is_in_api_md_with_its_statuses_and_no_other() {
    let in_sources = codes_in_sources();

    let mut in_document = BTreeMap::new();
    for line in document("api.md").lines().filter(|line| line.starts_with("| `")) {
        let cells = line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
        let [code, statuses, what_to_do] = &cells[..] else { panic!("three cells: {line}") };
        assert!(what_to_do.len() > 10, "what to do about {code}?");
        let statuses = statuses.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
        assert!(in_document.insert(code.trim_matches('`').to_owned(), statuses).is_none(), "{code} stands there twice");
    }

    let unlike = in_sources.iter().filter(|(code, statuses)| in_document.get(*code) != Some(*statuses)).collect::<Vec<_>>();
    let gone = in_document.keys().filter(|code| !in_sources.contains_key(*code)).collect::<Vec<_>>();
    assert!(unlike.is_empty(), "give these codes their line in docs/api.md, with these statuses: {unlike:?}");
    assert!(gone.is_empty(), "no answer has these codes any more, take them out of docs/api.md: {gone:?}");
    assert!(in_sources.len() > 40, "the sources are written in another way: only {} codes were found", in_sources.len());
}

/// A code that is a variable would escape the test above: only problem.rs itself passes one on.
#[test]
fn a_code_is_written_where_its_problem_is_made() {
    let pattern = Regex::new(r#"Problem::(?:new\(\s*[A-Za-z:_]+,|unauthenticated\(|forbidden\(|conflict\(|refused\(|busy\()\s*([^"\s])"#);
    let pattern = pattern.expect("a pattern");

    for (path, text) in sources("src") {
        let found = pattern.find(&text).map(|found| found.as_str());
        assert_eq!(found, None, "{}: write the code as a text", path.display());
    }
}

#[test]
fn the_map_is_short_and_every_place_on_it_exists() {
    let map = document("architecture.md");
    let place = Regex::new(r"`([a-z_0-9./-]+(?:\.rs|\.txt|\.md|\.toml|\.sql|/))`").expect("a pattern");

    assert!(map.lines().count() <= MAP_LINES_MAX, "docs/architecture.md has more than {MAP_LINES_MAX} lines");
    let places = place.captures_iter(&map).map(|found| found[1].to_owned()).collect::<BTreeSet<_>>();
    let missing = places.iter().filter(|place| !root().join(place).exists() && !root().join("src").join(place).exists());
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(places.len() > 20, "{places:?}");
}

#[test]
fn every_room_and_every_file_with_a_name_of_its_own_is_on_the_map() {
    let map = document("architecture.md");
    let floors = ["mod", "model", "rules", "store", "service", "routes", "tests"];

    for (path, _) in sources("src") {
        let path = path.strip_prefix(root().join("src")).expect("below src");
        let (room, stem) = (path.iter().next().expect("a room").to_string_lossy(), path.file_stem().expect("a name").to_string_lossy());
        let is_in_a_room = path.components().count() > 1;
        // Their own door-plates tell what is inside.
        if !is_in_a_room || ["web", "cli", "config", "embedded", "server", "jobs", "traces"].contains(&&*room) {
            assert!(map.contains(&format!("`{}", room)), "docs/architecture.md does not name src/{}", path.display());
        } else if !floors.contains(&&*stem) {
            assert!(
                map.contains(&format!("`{}`", path.display())),
                "docs/architecture.md does not say where src/{} stands",
                path.display()
            );
        }
    }
}

#[test]
fn every_law_has_its_witnesses_and_they_exist() {
    let tests = sources("tests").into_iter().chain(sources("src"));
    let name = Regex::new(r"fn ([a-z0-9_]+)\(").expect("a pattern");
    let texts = tests.map(|(_, text)| text).collect::<Vec<_>>();
    let known = texts.iter().flat_map(|text| name.captures_iter(text)).map(|found| found[1].to_owned()).collect::<BTreeSet<_>>();
    let ledger = document("ledger.md");
    let witness = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`").expect("a pattern");

    let mut laws = BTreeSet::new();
    for section in ledger.split("\n## ").filter(|section| section.starts_with('I')) {
        let law = section.split([' ', '.', '\n']).next().expect("a law").to_owned();
        let witnesses = witness.captures_iter(section).map(|found| found[1].to_owned()).collect::<Vec<_>>();
        let fires = format!("{}_fires_", law.to_lowercase());
        assert!(witnesses.iter().any(|witness| witness.starts_with(&fires)), "{law}: which test shows that `igny8 verify` finds a breach?");
        assert!(witnesses.len() > 1, "{law}: which test shows that it is kept?");
        laws.insert(law);
    }

    let missing = witness.captures_iter(&ledger).map(|found| found[1].to_owned()).filter(|witness| !known.contains(witness));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<String>::new(), "docs/ledger.md calls tests that are not there");
    assert_eq!(laws, (1..=10).map(|law| format!("I{law}")).collect::<BTreeSet<_>>());
}
