//! The log over HTTP, for platform staff.

use super::{
    model::{LogFilter, LogRow},
    store,
};
use crate::{
    ids::AccountId,
    request_body,
    state::AppState,
    web::{
        caller::Operator,
        envelope::{Answer, wants_text},
        extract::{Query, Text},
        field::Instant,
        page::{CursorRequest, Page},
        problem::Outcome,
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What billing admins see of it.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(log))
}

request_body! { Ignored:
    /// Which rows of the log.
    pub struct LogQuery {
        /// Only of this account, by number.
        #[param(inline)]
        account: Option<i64>,
        /// Only of this actor: `user:7`, `site:3`, `system`, `cli`, `anonymous`.
        #[param(inline)]
        actor: Option<Text<64>>,
        /// Only this action: `transfer.confirmed`.
        #[param(inline)]
        action: Option<Text<64>>,
        /// Only from this instant on.
        #[param(inline)]
        from: Option<Instant>,
        /// Only before this instant.
        #[param(inline)]
        to: Option<Instant>,
    }
}

/// Who did what, newest first. With `Accept: text/plain` a line for each row.
#[utoipa::path(get, path = "/billing/admin/audit", tag = "billing administration", params(LogQuery, CursorRequest), responses((status = 200, body = Page<LogRow>)), security(("bearer" = [])))]
async fn log(
    State(state): State<AppState>,
    _: Operator,
    headers: HeaderMap,
    Query(query): Query<LogQuery>,
    page: CursorRequest,
) -> Outcome<Answer> {
    let filter = filter_of(query);
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_newer(&state.pool, &filter, newer_than, page.limit()).await?,
        None => store::list_older(&state.pool, &filter, page.older_than(), page.limit()).await?,
    };
    let count = if page.count { Some(store::count_rows(&state.pool, &filter).await?) } else { None };
    let page = page.page(rows, |row| row.id.0, count);
    Ok(if wants_text(&headers) { Answer::plain(page.results.iter().map(line).collect()) } else { Answer::list(page) })
}

fn filter_of(query: LogQuery) -> LogFilter {
    LogFilter {
        account: query.account.map(AccountId),
        actor: query.actor.map(|actor| actor.0),
        action: query.action.map(|action| action.0),
        from: query.from.map(|from| from.0),
        to: query.to.map(|to| to.0),
    }
}

/// One row for a terminal.
fn line(row: &LogRow) -> String {
    let account = row.account_id.map_or_else(|| "-".to_owned(), |account| account.to_string());
    let (at, reason) = (row.at.format("%Y-%m-%d %H:%M:%S"), row.reason.as_deref().unwrap_or(""));
    format!("{at}  {:<12} {account:>8}  {:<28} {:<24} {reason}", row.actor, row.action, row.target).trim_end().to_owned() + "\n"
}
