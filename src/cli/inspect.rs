//! Commands that look and change nothing.

use super::{
    database::Database,
    failure::Failure,
    output::{Output, table},
    progress::Progress,
    serve::{self, reachable},
};
use igny8::{
    clock::{Clock as _, SystemClock},
    config::Config,
    router,
    system::{
        model::{Law, State, Violation},
        service,
    },
    web::door::{self, THROTTLE_SCOPE},
};
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use utoipa::openapi::OpenApi;

/// Less than what the container's health check waits.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
/// An answer's beginning, which is all that is read of it.
const STATUS_LINE_BYTES: usize = "HTTP/1.1 200".len();

/// `igny8 state`.
pub(crate) async fn state(config: &Config, output: Output) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let state = service::state(&database.pool).await;
    database.close().await;
    let state = state?;
    output.either(&state, || text_of(&state));
    if state.violations.is_empty() { Ok(()) } else { Err(Failure::violated()) }
}

/// `igny8 verify`.
pub(crate) async fn verify(config: &Config, output: Output) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let mut progress = Progress::start();
    let violations = service::verify_telling(&database.pool, &mut |step| progress.tell(step)).await;
    progress.end();
    if let Ok(violations) = &violations
        && let Err(error) = service::note_verified(&database.pool, violations, SystemClock::start().now()).await
    {
        // The answer stands all the same; only its age will not be told.
        tracing::warn!(%error, "that the laws were asked can't be noted");
    }
    database.close().await;
    let violations = violations?;
    let report = serde_json::json!({ "ok": violations.is_empty(), "violations": violations });
    output.either(&report, || laws_of(&violations));
    if violations.is_empty() { Ok(()) } else { Err(Failure::violated()) }
}

/// `igny8 openapi`.
pub(crate) fn openapi(output: Output) -> Result<(), Failure> {
    let document = document()?;
    let json = document.to_pretty_json().map_err(|error| Failure::failed(error.to_string()))?;
    output.either(&document, || json);
    Ok(())
}

/// `igny8 routes`.
pub(crate) fn routes(output: Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Route {
        method: String,
        path: String,
        door: door::Door,
        limit: Option<String>,
        tag: Option<String>,
    }
    let document = document()?;
    let routes = door::operations(&document).map(|(path, method, operation)| Route {
        method: method.to_string(),
        path: path.to_owned(),
        door: door::door_of(operation),
        limit: door::note(operation, THROTTLE_SCOPE).map(str::to_owned),
        tag: operation.tags.as_ref().and_then(|tags| tags.first().cloned()),
    });
    let routes = routes.collect::<Vec<_>>();
    output.either(&routes, || {
        let rows = routes
            .iter()
            .map(|route| [route.method.clone(), route.path.clone(), route.door.to_string(), text(&route.limit), text(&route.tag)]);
        table(["method", "path", "door", "limit", "tag"], rows)
    });
    Ok(())
}

/// `igny8 healthcheck`: asks the server on this machine, as the container's health check does.
pub(crate) async fn healthcheck(config: &Config, output: Output) -> Result<(), Failure> {
    let address = reachable(config.bind_addr);
    let asked = tokio::time::timeout(HEALTH_LIMIT, ask(address)).await;
    let status = match asked {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return Err(Failure::failed(format!("nothing answers on {address}: {error}"))),
        Err(_) => return Err(Failure::failed(format!("no answer from {address} within {} s", HEALTH_LIMIT.as_secs()))),
    };
    if status != "200" {
        return Err(Failure::failed(format!("the server on {address} is not ready: it answered {status}")));
    }
    output.either(&serde_json::json!({ "status": "ready" }), || format!("the server on {address} is ready"));
    Ok(())
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut beginning = [0; STATUS_LINE_BYTES];
    stream.read_exact(&mut beginning).await?;
    Ok(String::from_utf8_lossy(&beginning).split(' ').nth(1).unwrap_or_default().to_owned())
}

/// The document of the routes. Needs no settings and no database: none is asked.
fn document() -> Result<OpenApi, Failure> {
    let mut config = Config::parse(&[], |_| None)?;
    config.jwt_secret_key = Some(igny8::secrets::random_token().into());
    let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass());
    let (_, document) = router::build(&serve::state(config, pool.into())?);
    Ok(document)
}

fn text_of(state: &State) -> String {
    let plans = state.plans.iter().map(|plan| {
        [
            plan.slug.clone(),
            plan.name.clone(),
            plan.price.to_string(),
            plan.billing_cycle.to_string(),
            plan.credits_per_month.to_string(),
            yes(plan.is_active),
            plan.accounts.to_string(),
        ]
    });
    let accounts = state.accounts.iter().map(|account| {
        let end = account.period_ends_at.map(|end| end.format("%Y-%m-%d %H:%M").to_string());
        [
            account.id.to_string(),
            account.slug.clone(),
            account.name.clone(),
            text(&account.plan),
            account.credits.to_string(),
            account.status.to_string(),
            text(&end),
        ]
    });
    let counts = &state.counts;
    let counts = [
        ("accounts", counts.accounts),
        ("users", counts.users),
        ("sites", counts.sites),
        ("credit transactions", counts.credit_transactions),
        ("invoices", counts.invoices),
        ("payments", counts.payments),
        ("audit rows", counts.audit_rows),
    ];
    let listed = i64::try_from(state.accounts.len()).unwrap_or(i64::MAX);
    let more = if listed < state.counts.accounts { format!("\n… and {} more", state.counts.accounts - listed) } else { String::new() };
    [
        format!("Plans\n{}", table(["slug", "name", "price", "cycle", "credits", "active", "accounts"], plans)),
        format!("Accounts\n{}{more}", table(["id", "slug", "name", "plan", "credits", "status", "period ends (UTC)"], accounts)),
        format!("Counts\n{}", table(["what", "how many"], counts.map(|(what, count)| [what.to_owned(), count.to_string()]))),
        format!("Laws\n{}", laws_of(&state.violations)),
    ]
    .join("\n\n")
}

fn laws_of(violations: &[Violation]) -> String {
    if violations.is_empty() {
        return format!("all {} laws of money hold", Law::ALL.len());
    }
    let rows = violations.iter().map(|violation| {
        [violation.law.to_string(), violation.law.sentence().to_owned(), text(&violation.account), violation.detail.clone()]
    });
    format!("{}\n{} violation(s)", table(["law", "which says", "account", "but"], rows), violations.len())
}

fn text(value: &Option<impl ToString>) -> String {
    value.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)
}

fn yes(fact: bool) -> String {
    if fact { "yes" } else { "no" }.to_owned()
}
