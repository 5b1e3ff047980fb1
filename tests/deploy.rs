//! What stands in `deploy/` is sound: promtool reads it, and it names no metric that the server does not have.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

#[path = "support/tools.rs"]
mod tools;

use igny8::{config::VARIABLES, meters::METERS};
use regex_lite::Regex;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tools::tool;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn promtool(arguments: &[&str]) {
    let output = tool("promtool", "prometheus").args(arguments).current_dir(root()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("FAILED"), "promtool {arguments:?}: {said}");
}

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/dashboards/igny8.json")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The server's metrics that a text names; a histogram by each of its parts.
fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"igny8_[a-z0-9_]+").unwrap();
    let base = |name: &str| ["_bucket", "_count", "_sum"].into_iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned();
    name.find_iter(text).map(|found| base(found.as_str())).collect()
}

#[test]
fn promtool_reads_the_settings_and_the_alerts() {
    promtool(&["check", "rules", "deploy/alerts.yml"]);
    promtool(&["check", "config", "--syntax-only", "deploy/prometheus.yml"]);
    promtool(&["test", "rules", "tests/deploy/alerts.yml"]);
}

#[test]
fn promtool_reads_every_query_of_the_dashboard() {
    let rules = queries().into_iter().enumerate().map(|(n, query)| {
        // Grafana's own words, as it fills them in.
        let query = query.replace("$__rate_interval", "1m");
        format!("  - record: panel_{n}\n    expr: {}\n", serde_json::to_string(&query).unwrap())
    });
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dashboard-rules.yml");
    fs::write(&file, format!("groups:\n- name: dashboard\n  rules:\n{}", rules.collect::<String>())).unwrap();

    promtool(&["check", "rules", file.to_str().unwrap()]);
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_the_server_has_and_the_dashboard_shows_all() {
    let known = METERS.iter().map(|meter| meter.name.to_owned()).collect::<BTreeSet<_>>();

    let (alerts, dashboard) = (named(&read("deploy/alerts.yml")), named(&queries().join("\n")));

    assert_eq!(alerts.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(dashboard.symmetric_difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(alerts.len() > 8, "{alerts:?}");
}

#[test]
fn panels_do_not_overlap_and_have_numbers_of_their_own() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/dashboards/igny8.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();

    let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let number = |name: &str| panel["gridPos"][name].as_i64().unwrap();
        assert!(ids.insert(panel["id"].as_i64().unwrap()) && number("x") + number("w") <= 24, "{}", panel["title"]);
        for cell in (0..number("w")).flat_map(|x| (0..number("h")).map(move |y| (x, y))) {
            assert!(cells.insert((number("x") + cell.0, number("y") + cell.1)), "{} lies over another", panel["title"]);
        }
    }
}

#[test]
fn compose_mounts_only_files_that_are_there_and_profiles_speak_of_variables_that_are_read() {
    let compose = read("docker-compose.yml");

    let mounted = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next());
    let missing = mounted.filter(|path| !root().join(path).exists()).collect::<Vec<_>>();
    let profiles = compose.lines().filter_map(|line| line.trim().strip_prefix("profiles: ")).collect::<BTreeSet<_>>();
    for variable in ["REDIS_URL", "SMTP_URL", "METRICS_ADDR", "TRUSTED_PROXIES"] {
        assert!(compose.contains(variable) && VARIABLES.iter().any(|known| known.name == variable), "{variable}");
    }

    assert_eq!(missing, Vec::<&str>::new());
    assert_eq!(profiles, BTreeSet::from(["[mail]", "[monitoring]", "[proxy]", "[redis]"]));
}
