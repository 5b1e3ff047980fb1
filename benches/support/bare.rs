//! What others would write: bare axum routes over sqlx, with the same token and the same database, and nothing else. In a
//! process of their own, as the server is.

use super::{SECRET, option};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use igny8::auth::{
    model::TokenType,
    tokens::{TokenSecrets, Tokens},
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::{
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

/// The process of the bare routes.
pub(crate) struct Bare {
    child: Child,
    pub(crate) port: u16,
}

impl Bare {
    /// This very program, asked to be the routes.
    pub(crate) fn start(url: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let child = command.env("BENCH_BARE_URL", url).env("BENCH_BARE_PORT", port.to_string()).spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Bare { child, port }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether this process is to be the routes.
pub(crate) fn is_asked_for() -> bool {
    std::env::var("BENCH_BARE_URL").is_ok()
}

/// Serves them until the process is killed.
pub(crate) async fn serve() {
    let url = std::env::var("BENCH_BARE_URL").unwrap();
    let pool = PgPoolOptions::new().max_connections(16).test_before_acquire(false).connect(&url).await.unwrap();
    let tokens = Arc::new(Tokens::new(&TokenSecrets { current: SECRET.into(), previous: Vec::new() }));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", option("BENCH_BARE_PORT", 0))).await.unwrap();
    let routes = Router::new().route("/", get(me)).route("/debit", post(debit));
    axum::serve(listener, routes.with_state(Bar { pool, tokens })).await.unwrap();
}

#[derive(Clone)]
struct Bar {
    pool: PgPool,
    tokens: Arc<Tokens>,
}

impl Bar {
    fn account(&self, headers: &HeaderMap) -> Result<i64, StatusCode> {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let claims = self.tokens.read(bearer.unwrap_or(""), TokenType::Access, chrono::Utc::now());
        claims.map(|claims| claims.user_id.0).map_err(|_| StatusCode::UNAUTHORIZED)
    }
}

type Answer = Result<(StatusCode, Json<serde_json::Value>), StatusCode>;

/// P4: one row by its primary key.
async fn me(State(bar): State<Bar>, headers: HeaderMap) -> Answer {
    let user = bar.account(&headers)?;
    let row: (i64, String, String) = sqlx::query_as("select user_id, email, username from users where user_id = $1")
        .bind(user)
        .fetch_one(&bar.pool)
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok((StatusCode::OK, Json(serde_json::json!({ "id": row.0, "email": row.1, "username": row.2 }))))
}

/// P3: the usual transaction per request.
async fn debit(State(bar): State<Bar>, headers: HeaderMap, Json(body): Json<serde_json::Value>) -> Answer {
    let (account, quantity) = (bar.account(&headers)?, body["quantity"].as_i64().unwrap_or(0));
    let after = transact(&bar.pool, account, quantity).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok((StatusCode::CREATED, Json(serde_json::json!({ "data": { "balance": after } }))))
}

async fn transact(pool: &PgPool, account: i64, quantity: i64) -> Result<i64, sqlx::Error> {
    let cost = (quantity + 99) / 100;
    #[allow(clippy::disallowed_methods, reason = "what others would write")]
    let mut tx = pool.begin().await?;
    let (plan, seq): (i64, i64) = sqlx::query_as("select plan_credits, last_seq from credit_balances where account_id = $1 for update")
        .bind(account)
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query("update credit_balances set plan_credits = $2, last_seq = $3 where account_id = $1")
        .bind(account)
        .bind(plan - cost)
        .bind(seq + 1)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost, \
         description, actor, created_at) values ($1, $2, 'deduction', $3, 0, $4, 0, 'content_generation', $5, 1, 'content generation', 'user:1', now())",
    )
    .bind(account)
    .bind(seq + 1)
    .bind(-cost)
    .bind(plan - cost)
    .bind(quantity)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(plan - cost)
}
