//! The house's rules that reading can hold: who may import whom, where SQL stands, how long a file is. What is exempt is
//! listed here with its reason, and an exemption that nothing needs any more fails the run: the lists only shrink.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Lines of a file at the most. The house wants 300; this is where it becomes a fault.
const LINES_MAX: usize = 400;

/// The rooms; each imports itself and rooms to its left only.
const ROOMS: [&str; 14] = [
    "audit",
    "idempotency",
    "mail",
    "auth",
    "plans",
    "credits",
    "subscriptions",
    "accounts",
    "sites",
    "billing",
    "gate",
    "throttle",
    "system",
    // Not a room but the front door: the command line sees everything.
    "cli",
];

/// Imports of a room further right: the importing file, the room, the reason.
const ROOMS_EXEMPT: &[(&str, &str, &str)] =
    &[("gate/routes.rs", "throttle", "attempts are counted per e-mail address too, and only the body of a login tells it")];

/// Imports of a higher floor: the importing file, the imported one, the reason.
const FLOORS_EXEMPT: &[(&str, &str, &str)] = &[];

/// Queries outside a store.
const SQL_EXEMPT: &[(&str, &str)] = &[("db.rs", "migrations, roles and the schema's version belong to no room")];

/// Queries that the compiler does not check.
const UNCHECKED_EXEMPT: &[(&str, &str)] = &[("db.rs", "grants name a role, which no parameter can")];

/// Transactions that `db::begin` does not begin.
const BEGIN_EXEMPT: &[(&str, &str)] =
    &[("credits/batch/combiner.rs", "asks its link for it: a connection of its own, never pooled and closed after any failure")];

/// Connections that are not `db::Pool`'s.
const BARE_EXEMPT: &[(&str, &str)] = &[("replica.rs", "asks whether the replica answers, and sends no statement")];

/// Files that are too long.
const LINES_EXEMPT: &[(&str, &str)] =
    &[("web/problem.rs", "the one page from error to status, code and sentence: it grows with the rooms")];

/// What a file may touch, lowest first. A file imports its own floor and those below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    /// Words, numbers, time, settings, secrets: what everything stands on.
    Ground,
    Model,
    Rules,
    Store,
    Service,
    State,
    Web,
    Routes,
    /// Puts everything together: router, jobs, server, command line.
    Top,
}

fn floor_of(path: &str) -> Floor {
    let (folder, file) = path.split_once('/').unwrap_or(("", path));
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs");
    match (folder, stem) {
        (
            "",
            "ids" | "money" | "period" | "clock" | "config" | "secrets" | "sealing" | "build_info" | "telemetry" | "traces" | "meters",
        ) => Floor::Ground,
        ("config" | "traces", _) => Floor::Ground,
        ("", "db" | "replica") | ("db" | "embedded", _) => Floor::Store,
        ("", "state") => Floor::State,
        ("", "router" | "jobs" | "server" | "main" | "lib") | ("cli" | "server" | "jobs", _) => Floor::Top,
        ("", other) => panic!("src/{other}.rs stands on no floor yet: give it one in floor_of"),
        ("web", _) => Floor::Web,
        (room, _) if !ROOMS.contains(&room) => panic!("src/{room} is no room yet: give it its place in ROOMS"),
        (_, "mod") => Floor::Ground,
        (_, "model") => Floor::Model,
        // Decisions with a noun of their own.
        (_, "rules") | ("auth", "passwords" | "tokens") | ("accounts", "registration") => Floor::Rules,
        // What the gate's two queries have in common.
        (_, "store") | ("gate", "columns") => Floor::Store,
        // The document is written for the routes and knows what HTTP is.
        (_, "routes") | ("system", "document") => Floor::Routes,
        // A service may be written on several pages, each with a noun of its own.
        (_, _) => Floor::Service,
    }
}

fn room_of(path: &str) -> Option<usize> {
    let folder = path.split_once('/').map(|(folder, _)| folder)?;
    ROOMS.iter().position(|room| *room == folder)
}

/// A source file, taken apart.
struct Source {
    /// Below `src`, with slashes.
    path: String,
    /// As it stands.
    text: String,
    /// Without comments and texts, which are blanked, and without the tests at its end.
    code: String,
    /// The texts in the code: SQL among them.
    texts: Vec<String>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = files_below(&root, "rs").into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a readable source");
        let tests_at = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
        let (code, texts) = take_apart(&text[..tests_at]);
        let path = path.strip_prefix(&root).expect("below src").to_str().expect("a plain name").replace('\\', "/");
        Source { path, text, code, texts }
    });
    let sources = sources.by_ref().collect::<Vec<_>>();
    assert!(sources.len() > 50, "src was not found: {} files", sources.len());
    sources
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a readable folder")) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|known| known == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Splits Rust into code, where comments and texts are blanks, and the texts.
fn take_apart(text: &str) -> (String, Vec<String>) {
    let chars = text.chars().collect::<Vec<_>>();
    let (mut code, mut texts, mut at) = (String::new(), Vec::new(), 0);
    let starts = |at: usize, word: &str| word.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while let Some(&c) = chars.get(at) {
        let end = if starts(at, "//") {
            (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
        } else if starts(at, "/*") {
            (at + 2..chars.len()).find(|i| starts(*i, "*/")).map_or(chars.len(), |i| i + 2)
        } else if let Some(hashes) = raw_text_hashes(&chars, at) {
            let closing = format!("\"{}", "#".repeat(hashes));
            let inside = at + 2 + hashes;
            let closed = (inside..chars.len()).find(|i| starts(*i, &closing)).unwrap_or(chars.len());
            texts.push(chars[inside..closed].iter().collect());
            (closed + closing.len()).min(chars.len())
        } else if c == '"' {
            let mut closed = at + 1;
            while closed < chars.len() && chars[closed] != '"' {
                closed += if chars[closed] == '\\' { 2 } else { 1 };
            }
            texts.push(chars[at + 1..closed.min(chars.len())].iter().collect());
            (closed + 1).min(chars.len())
        } else if c == '\'' && (chars.get(at + 2) == Some(&'\'') || chars.get(at + 1) == Some(&'\\')) {
            // A character; a lifetime has no quote two places on. What is escaped may be a quote itself.
            let inside = if chars.get(at + 1) == Some(&'\\') { at + 3 } else { at + 2 };
            (inside..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |i| i + 1)
        } else {
            code.push(c);
            at += 1;
            continue;
        };
        code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    (code, texts)
}

/// How many hashes a raw text has that begins here, if one does.
fn raw_text_hashes(chars: &[char], at: usize) -> Option<usize> {
    let is_word = |i: usize| chars.get(i).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    if chars.get(at) != Some(&'r') || at > 0 && is_word(at - 1) && chars[at - 1] != 'b' {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// Every path of our own crate that the code names: `crate::…` and `super::…`, groups and whole modules followed.
fn paths_named(source: &Source, modules: &BTreeMap<Vec<String>, String>) -> Vec<Vec<String>> {
    let module = module_of(&source.path);
    let mut named = Vec::new();
    for (start, base) in roots(&source.code, &module) {
        expand(&source.code[start..], &base, &mut named);
    }
    // `use crate::audit;` and then `audit::service::…`: the module's name stands for its path.
    let whole = named.iter().filter(|path| modules.contains_key(*path)).cloned().collect::<BTreeSet<_>>();
    for path in whole {
        let Some(name) = path.last() else { continue };
        let word = format!("{name}::");
        for (at, _) in source.code.match_indices(&word) {
            let before = source.code[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                expand(&source.code[at + word.len()..], &path, &mut named);
            }
        }
    }
    named
}

/// Where `crate::` or `super::` begins a path, and the module that it stands for.
fn roots(code: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut roots = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            roots.push((at + "crate::".len(), Vec::new()));
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let (mut end, mut base) = (at, module.to_vec());
        while code[end..].starts_with("super::") {
            base.pop();
            end += "super::".len();
        }
        roots.push((end, base));
    }
    roots
}

/// The module that a file is: `plans/store.rs` is `plans::store`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// Follows a path or a group of paths, and gives what comes after it.
fn expand<'a>(code: &'a str, base: &[String], named: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = base.to_vec();
    let mut rest = code.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = group.trim_start();
                if let Some(after) = group.strip_prefix('}') {
                    return after;
                }
                let after = expand(group, &path, named);
                assert!(after.len() < group.len(), "not a group of paths: {}", group.chars().take(60).collect::<String>());
                // Past `as name` and the comma.
                group = after.trim_start_matches(|c: char| c != ',' && c != '}').trim_start_matches(',');
            }
        }
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        if word.is_empty() {
            // A star, a generic argument, or no path at all.
            named.push(path);
            return after.strip_prefix('*').unwrap_or(after);
        }
        if word != "self" {
            path.push(word.to_owned());
        }
        match after.strip_prefix("::") {
            Some(deeper) => rest = deeper,
            None => {
                named.push(path);
                return after;
            }
        }
    }
}

/// The file that a path leads to: the deepest module that it names. Macros stand at the crate's root and lead nowhere.
fn file_of<'a>(path: &[String], modules: &'a BTreeMap<Vec<String>, String>) -> Option<&'a str> {
    (1..=path.len()).rev().find_map(|length| modules.get(&path[..length])).map(String::as_str)
}

/// Every import between two files: who, whom.
fn imports(sources: &[Source]) -> BTreeSet<(String, String)> {
    let modules = sources.iter().map(|source| (module_of(&source.path), source.path.clone())).collect::<BTreeMap<_, _>>();
    let mut imports = BTreeSet::new();
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        for path in paths_named(source, &modules) {
            if let Some(file) = file_of(&path, &modules).filter(|file| *file != source.path) {
                imports.insert((source.path.clone(), file.to_owned()));
            }
        }
    }
    imports
}

/// Fails with all that is wrong, and with every exemption that nothing needs.
fn hold(rule: &str, found: BTreeMap<String, String>, exempt: impl IntoIterator<Item = String>) {
    let mut found = found;
    let unused = exempt.into_iter().filter(|key| found.remove(key).is_none()).collect::<Vec<_>>();
    let faults = found.into_values().collect::<Vec<_>>();
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
    assert!(unused.is_empty(), "nothing needs these exemptions any more, take them out: {unused:?}");
}

#[test]
fn a_file_imports_its_own_floor_and_those_below() {
    let sources = sources();

    let mut faults = BTreeMap::new();
    for (who, whom) in imports(&sources) {
        let (from, to) = (floor_of(&who), floor_of(&whom));
        // A room's mod.rs is its door-plate and names its floors; it imports nothing.
        if to > from {
            faults.insert(format!("{who} {whom}"), format!("src/{who} ({from:?}) imports src/{whom} ({to:?})"));
        }
    }

    hold("imports of a higher floor", faults, FLOORS_EXEMPT.iter().map(|(who, whom, _)| format!("{who} {whom}")));
}

#[test]
fn a_room_imports_only_rooms_to_its_left() {
    let sources = sources();

    let mut faults = BTreeMap::new();
    for (who, whom) in imports(&sources) {
        if let (Some(from), Some(to)) = (room_of(&who), room_of(&whom))
            && to > from
        {
            let room = ROOMS[to];
            faults.insert(format!("{who} {room}"), format!("src/{who} imports src/{whom}, and {room} is to the right of it"));
        }
    }

    hold("imports of a room to the right", faults, ROOMS_EXEMPT.iter().map(|(who, room, _)| format!("{who} {room}")));
}

#[test]
fn the_door_plate_of_a_room_imports_nothing() {
    for source in sources().iter().filter(|source| room_of(&source.path).is_some_and(|room| ROOMS[room] != "cli")) {
        if source.path.ends_with("/mod.rs") {
            let uses = source.code.lines().filter(|line| line.trim_start().starts_with("use ")).collect::<Vec<_>>();
            assert!(uses.is_empty(), "src/{} is a door-plate and imports {uses:?}", source.path);
        }
    }
}

#[test]
fn no_axum_below_web() {
    for source in sources().iter().filter(|source| floor_of(&source.path) < Floor::Web) {
        assert!(!names(&source.code, "axum") && !names(&source.code, "utoipa_axum"), "src/{} knows axum", source.path);
    }
}

#[test]
fn rules_are_pure() {
    for source in sources().iter().filter(|source| floor_of(&source.path) == Floor::Rules) {
        for word in ["async", "await", "tracing", "sqlx", "tokio", "Clock"] {
            assert!(!names(&source.code, word), "src/{} says {word}", source.path);
        }
    }
}

#[test]
fn queries_stand_in_stores_and_are_checked_by_the_compiler() {
    let sources = sources();
    let checked = ["query!", "query_as!", "query_scalar!", "query_file!", "query_file_as!", "query_file_scalar!"];
    let unchecked = [
        "sqlx::query(",
        "sqlx::query::<",
        "sqlx::query_as(",
        "sqlx::query_as::<",
        "sqlx::query_scalar(",
        "sqlx::query_scalar::<",
        "raw_sql(",
        "QueryBuilder",
    ];

    let (mut outside, mut loose) = (BTreeMap::new(), BTreeMap::new());
    for source in &sources {
        let is_unchecked = unchecked.iter().any(|word| source.code.contains(word));
        let is_query = is_unchecked || checked.iter().any(|word| source.code.contains(word));
        if is_query && !source.path.ends_with("/store.rs") {
            outside.insert(source.path.clone(), format!("src/{}", source.path));
        }
        if is_unchecked {
            loose.insert(source.path.clone(), format!("src/{}", source.path));
        }
    }

    hold("queries outside a store", outside, SQL_EXEMPT.iter().map(|(path, _)| (*path).to_owned()));
    hold("queries that the compiler does not check", loose, UNCHECKED_EXEMPT.iter().map(|(path, _)| (*path).to_owned()));
}

#[test]
fn transactions_begin_in_one_place() {
    let outside = sources().into_iter().filter(|source| !source.path.starts_with("db") && begins(&source.code));
    let outside = outside.map(|source| (source.path.clone(), format!("src/{}", source.path)));

    hold("transactions begun past crate::db::begin", outside.collect(), BEGIN_EXEMPT.iter().map(|(path, _)| (*path).to_owned()));
}

fn begins(code: &str) -> bool {
    [".begin(", ".begin_with("].iter().any(|call| code.contains(call))
}

/// Where a pooler shares sessions out, what is asked past the pool may reach another session than it was prepared in.
#[test]
fn queries_go_through_our_pool_and_bare_connections_are_opened_in_few_places() {
    let is_bare = |code: &str| names(code, "PgPool") || code.contains("PgConnection::connect") || code.contains(".connections()");
    let sources = sources().into_iter().filter(|source| !source.path.starts_with("db") && is_bare(&source.code));
    let found = sources.map(|source| (source.path.clone(), format!("src/{}", source.path)));

    hold("connections past crate::db::Pool", found.collect(), BARE_EXEMPT.iter().map(|(path, _)| (*path).to_owned()));
}

#[test]
fn sql_has_no_clock_of_its_own() {
    let migrations = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations"), "sql");
    assert!(!migrations.is_empty());
    let without_comments = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split("--").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
    };
    let statements = migrations.iter().map(|path| (path.display().to_string(), without_comments(path)));
    let texts = sources().into_iter().flat_map(|source| source.texts.into_iter().map(move |text| (source.path.clone(), text)));

    for (path, sql) in statements.chain(texts) {
        let sql = sql.to_lowercase().replace(char::is_whitespace, " ").replace(" (", "(");
        let told = ["now(", "clock_timestamp(", "statement_timestamp(", "transaction_timestamp(", "timeofday("];
        let word = told.iter().find(|word| {
            sql.match_indices(**word).any(|(at, _)| !sql[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.'))
        });
        let keywords = ["current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"];
        let word = word.or_else(|| keywords.iter().find(|word| names(&sql, word)));
        assert_eq!(word, None, "{path} reads the database's clock: {}", sql.chars().take(120).collect::<String>());
    }
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|source| source.text.lines().count() > LINES_MAX);
    let long = long.map(|source| (source.path.clone(), format!("src/{}: {} lines", source.path, source.text.lines().count())));

    hold("files of more than 400 lines", long.collect(), LINES_EXEMPT.iter().map(|(path, _)| (*path).to_owned()));
}

#[test]
fn nothing_is_left_for_later() {
    let tests = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "rs");
    let tests = tests.into_iter().map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()));
    let files = tests.chain(sources().into_iter().map(|source| (format!("src/{}", source.path), source.text)));

    for (path, text) in files {
        let (code, texts) = take_apart(&text);
        for word in ["todo!", "unimplemented!", "#[ignore"] {
            assert!(!code.contains(word), "{path} says {word}");
        }
        // A stub says so in its comments, and a comment is what take_apart took away.
        let comments_and_code =
            texts.iter().fold(text.clone(), |text, quoted| if quoted.is_empty() { text } else { text.replace(quoted.as_str(), "") });
        let stub = comments_and_code.lines().find(|line| names(line, concat!("ST", "UB")));
        assert_eq!(stub, None, "{path} is still a stub");
    }
}

/// Whether the word stands in the code, not as a part of another.
fn names(code: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| !is_part(code[..at].chars().next_back()) && !is_part(code[at + word.len()..].chars().next()))
}

#[test]
fn the_reader_of_imports_follows_groups_whole_modules_and_super() {
    let source = |path: &str, text: &str| {
        let (code, texts) = take_apart(text);
        Source { path: path.to_owned(), text: text.to_owned(), code, texts }
    };
    let sources = [
        source("ids.rs", ""),
        source("audit/service.rs", ""),
        source("audit/mod.rs", ""),
        source(
            "plans/model.rs",
            "// crate::sites::store\nconst A: &str = \"crate::sites::store\"; const B: char = '\"'; use super::super::ids::A as B;",
        ),
        source("sites/store.rs", ""),
        source("sites/keys/service.rs", "use super::super::store; fn f<'a>(x: &'a str) -> crate::plans::model::Plan<'a> {}"),
        source(
            "sites/service.rs",
            "use crate::{audit::{self, model}, ids::{A, B as C}, plans::model::*};\nfn f() { audit::service::record_in(); super::store::x() }",
        ),
    ];

    let found = imports(&sources);

    let expected = [
        ("plans/model.rs", "ids.rs"),
        ("sites/keys/service.rs", "plans/model.rs"),
        ("sites/keys/service.rs", "sites/store.rs"),
        ("sites/service.rs", "audit/mod.rs"),
        ("sites/service.rs", "audit/service.rs"),
        ("sites/service.rs", "ids.rs"),
        ("sites/service.rs", "plans/model.rs"),
        ("sites/service.rs", "sites/store.rs"),
    ];
    assert_eq!(found, expected.map(|(who, whom)| (who.to_owned(), whom.to_owned())).into());
}

#[test]
fn the_reader_of_rust_tells_code_from_comments_and_texts() {
    let (code, texts) = take_apart("a(\"now()\", 'x', '\\'', r#\"raw \" text\"#, b\"b\") // now()\n/* todo! */ b<'a>('\"') \"\\\"q\"");

    assert_eq!(texts, ["now()", "raw \" text", "b", "\\\"q"]);
    assert!(!code.contains("now") && !code.contains("todo") && code.contains("b<'a>(") && code.lines().count() == 2);
}
