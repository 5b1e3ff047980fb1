//! Statements over HTTP.

use super::{
    csv::rules::{ColumnWish, CsvProfile, WishFault},
    model::{Certainty, LineOutcome, LineResult, LineWish, Statement, StatementFormat, StatementSummary},
    rules::Reading,
    service::{self, StatementError},
    store,
};
use crate::{
    billing::{
        confirmation::Hand,
        model::{Confirmed, Run},
        routes::terms,
    },
    ids::StatementId,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Query, Text, Upload},
        page::{CursorRequest, Page},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Lines that one request applies, at the most.
const APPLIED_MAX: usize = 100;

/// What billing admins do with statements, except reading them in.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(statements)).routes(routes!(statement)).routes(routes!(apply))
}

/// Reading them in: the one route that takes large bodies.
pub fn importing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(import))
}

request_body! { Refused:
    /// How the file is to be read. All may be left out.
    pub struct ImportQuery {
        /// How it is written; left out: told by its beginning.
        #[param(inline)]
        format: Option<StatementFormat>,
        /// Of a CSV: the bank whose columns it has. Columns that are named below replace the bank's.
        #[param(inline)]
        profile: Option<CsvProfile>,
        /// Of a CSV: between columns; one sign.
        #[param(inline)]
        delimiter: Option<Text<1>>,
        /// Of a CSV: between whole and fraction, `.` or `,`.
        #[param(inline)]
        decimal: Option<Text<1>>,
        /// Of a CSV: how days are written, such as `%d.%m.%Y`.
        #[param(inline)]
        date_format: Option<Text<20>>,
        /// Of a CSV: the day's column.
        #[param(inline)]
        date_column: Option<Text<64>>,
        /// Of a CSV: the amount's column, negative where money left.
        #[param(inline)]
        amount_column: Option<Text<64>>,
        /// Of a CSV: the currency's column.
        #[param(inline)]
        currency_column: Option<Text<64>>,
        /// Of a CSV without such a column: the currency.
        #[param(inline)]
        currency: Option<Text<3>>,
        /// Of a CSV: the payer's column.
        #[param(inline)]
        payer_column: Option<Text<64>>,
        /// Of a CSV: the column of what the payer wrote.
        #[param(inline)]
        remittance_column: Option<Text<64>>,
        /// Of a CSV: the column of the bank's own reference.
        #[param(inline)]
        reference_column: Option<Text<64>>,
    }
}

impl ImportQuery {
    fn reading(self) -> Outcome<Reading> {
        let text = |text: Option<Text<64>>| text.map(|text| text.0);
        let wish = ColumnWish {
            profile: self.profile,
            delimiter: self.delimiter.map(|sign| sign.0),
            decimal: self.decimal.map(|sign| sign.0),
            date_format: self.date_format.map(|format| format.0),
            date: text(self.date_column),
            amount: text(self.amount_column),
            currency_column: text(self.currency_column),
            currency: self.currency.map(|currency| currency.0),
            payer: text(self.payer_column),
            remittance: text(self.remittance_column),
            reference: text(self.reference_column),
        };
        let refused = |faults: Vec<WishFault>| {
            faults.into_iter().fold(Problem::invalid(), |problem, WishFault(field, sentence)| problem.with_field(field, sentence))
        };
        Ok(Reading { format: self.format, columns: wish.columns().map_err(refused)? })
    }
}

/// Reads a bank's statement in, sent as it is in the body, of at most 2 MiB: CSV, CAMT.053 or MT940. Its lines are staged and
/// matched with open invoices; nothing is applied. The same file again is the same statement.
#[utoipa::path(post, path = "/billing/admin/statements", tag = "billing administration", params(ImportQuery), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 201, body = Envelope<Statement>), (status = 200, body = Envelope<Statement>, description = "this very file was read in before"), (status = 400, body = ErrorBody, description = "statement_unreadable with line and column"), (status = 413, body = ErrorBody)), security(("bearer" = [])))]
async fn import(
    State(state): State<AppState>,
    _: Operator,
    Source(origin): Source,
    Now(now): Now,
    Query(query): Query<ImportQuery>,
    Upload(bytes): Upload,
) -> Outcome<Answer> {
    let statement = service::import(&state.pool, bytes.to_vec(), query.reading()?, &origin.actor, now).await?;
    Ok(if statement.already_imported { Answer::ok(statement) } else { Answer::created(statement) })
}

/// Statements, newest first.
#[utoipa::path(get, path = "/billing/admin/statements", tag = "billing administration", params(CursorRequest), responses((status = 200, body = Page<StatementSummary>)), security(("bearer" = [])))]
async fn statements(State(state): State<AppState>, _: Operator, page: CursorRequest) -> Outcome<Answer> {
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_newer(&state.pool, newer_than, page.limit()).await?,
        None => store::list_older(&state.pool, page.older_than(), page.limit()).await?,
    };
    Ok(Answer::list(page.page(rows, |row| row.id.0, None)))
}

request_body! { Ignored:
    /// Which lines of a statement.
    pub struct LinesQuery {
        /// Lines after this one; see `next_line`.
        #[param(inline)]
        after_line: Option<i32>,
    }
}

/// One statement with its lines, matched with what is open now.
#[utoipa::path(get, path = "/billing/admin/statements/{id}", tag = "billing administration", params(("id" = i64, Path), LinesQuery), responses((status = 200, body = Envelope<Statement>), (status = 404, body = ErrorBody)), security(("bearer" = [])))]
async fn statement(State(state): State<AppState>, _: Operator, Path(id): Path<i64>, Query(query): Query<LinesQuery>) -> Outcome<Answer> {
    Ok(Answer::ok(service::open(&state.pool, StatementId(id), query.after_line.unwrap_or(0)).await?))
}

request_body! { Refused:
    /// Which lines become payments.
    pub struct ApplyBody {
        /// Their numbers, at most a hundred.
        #[schema(max_items = 100)]
        lines: Vec<i32>,
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

/// Confirms the transfers of the chosen lines, each by itself: what is refused is told and spoils no other.
#[utoipa::path(post, path = "/billing/admin/statements/{id}/apply", tag = "billing administration", request_body = ApplyBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<Vec<LineResult>>), (status = 404, body = ErrorBody)), security(("bearer" = [])))]
async fn apply(
    State(state): State<AppState>,
    operator: Operator,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<i64>,
    Body(body): Body<ApplyBody>,
) -> Outcome<Answer> {
    if body.lines.is_empty() || body.lines.len() > APPLIED_MAX {
        return Err(Problem::invalid_field("lines", format!("Give the numbers of 1 to {APPLIED_MAX} lines.")));
    }
    store::find_statement(&state.pool, StatementId(id)).await?.ok_or(StatementError::NotFound)?;
    let by = Hand { user: Some(operator.0.user.id), origin: &origin };
    let mut results = Vec::new();
    for line in body.lines {
        let wish = LineWish { statement: StatementId(id), line, least: Certainty::Likely, run: Run::of(body.dry_run) };
        results.push(told(line, service::apply(&state.pool, wish, by, terms(&state), now).await));
    }
    Ok(Answer::ok(results))
}

/// What became of a line; a refusal in the words of the route that refuses the same transfer.
pub fn told(line: i32, done: Result<(LineOutcome, Option<Confirmed>), StatementError>) -> LineResult {
    match done {
        Ok((outcome, Some(Confirmed { data, message }))) => LineResult { line, outcome, message, code: None, confirmation: Some(data) },
        Ok((outcome, None)) => {
            let message = format!("Line {line} was applied before; nothing changed now.");
            LineResult { line, outcome, message, code: None, confirmation: None }
        }
        Err(error) => {
            let is_missing = matches!(error, StatementError::NoLine);
            let problem = Problem::from(error);
            let message = if is_missing { format!("The statement has no line {line}.") } else { problem.sentence().to_owned() };
            let code = Some(problem.code().to_owned());
            LineResult { line, outcome: LineOutcome::Refused, message, code, confirmation: None }
        }
    }
}
