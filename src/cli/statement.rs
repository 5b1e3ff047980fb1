//! `igny8 statement`: what the bank says came in, read in, looked at and applied as over HTTP, by the same services.

use super::{
    database::Database,
    failure::{Failure, whole},
    output::{Output, table},
    progress::Progress,
    serve,
};
use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser, builder::TypedValueParser as _};
use igny8::{
    audit::model::Origin,
    billing::{
        confirmation::Hand,
        model::Run,
        routes::terms,
        statements::{
            csv::rules::{ColumnWish, CsvProfile, WishFault},
            model::{Certainty, Direction, LineOutcome, LineResult, LineWish, Statement, StatementFormat, StatementLine},
            routes::told,
            rules::{Reading, STATEMENT_BYTES_MAX},
            service::{self, StatementError},
        },
    },
    config::Config,
    ids::{StatementId, UnknownWord},
    state::AppState,
    web::problem::Problem,
};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    str::FromStr,
};

/// Signs of a cell at the most; JSON has all of it.
const CELL_CHARS_MAX: usize = 36;

/// What can be done with statements.
#[derive(Subcommand)]
pub(crate) enum Statements {
    /// Read a bank's statement in and match its lines with open invoices; nothing is paid by it
    Import(Box<Import>),
    /// Show a statement that was read in, matched with what is open now
    Show {
        /// Its number
        id: i64,
    },
    /// Confirm the transfers of some of its lines, each by itself
    Apply(Apply),
}

/// A file, and how it is to be read.
#[derive(Args)]
pub(crate) struct Import {
    /// The bank's file: CSV, CAMT.053 or MT940, of at most 2 MiB
    file: PathBuf,
    /// How it is written; left out, that is told by its beginning
    #[arg(long, value_parser = words(StatementFormat::ALL, StatementFormat::as_str))]
    format: Option<StatementFormat>,
    /// Of a CSV: the bank whose columns it has. Columns that are named below replace the bank's
    #[arg(long, value_parser = words(CsvProfile::ALL, CsvProfile::as_str))]
    profile: Option<CsvProfile>,
    /// Of a CSV: between columns; one sign
    #[arg(long)]
    delimiter: Option<String>,
    /// Of a CSV: between whole and fraction, `.` or `,`
    #[arg(long)]
    decimal: Option<String>,
    /// Of a CSV: how days are written, such as `%d.%m.%Y`
    #[arg(long)]
    date_format: Option<String>,
    /// Of a CSV: the day's column
    #[arg(long)]
    date_column: Option<String>,
    /// Of a CSV: the amount's column, negative where money left
    #[arg(long)]
    amount_column: Option<String>,
    /// Of a CSV: the currency's column
    #[arg(long)]
    currency_column: Option<String>,
    /// Of a CSV without such a column: the currency
    #[arg(long)]
    currency: Option<String>,
    /// Of a CSV: the payer's column
    #[arg(long)]
    payer_column: Option<String>,
    /// Of a CSV: the column of what the payer wrote
    #[arg(long)]
    remittance_column: Option<String>,
    /// Of a CSV: the column of the bank's own reference
    #[arg(long)]
    reference_column: Option<String>,
}

/// Which lines become payments.
#[derive(Args)]
#[command(group(ArgGroup::new("which").required(true).args(["lines", "sure"])))]
pub(crate) struct Apply {
    /// The statement's number
    id: i64,
    /// The numbers of the lines, such as 1,3,5
    #[arg(long, value_delimiter = ',')]
    lines: Vec<i32>,
    /// All lines whose reference and amount fit an open invoice
    #[arg(long)]
    sure: bool,
    /// Same checks, same table, nothing written
    #[arg(long)]
    dry_run: bool,
}

/// One of the words, told with all of them where it is another.
fn words<T>(all: &'static [T], word: fn(T) -> &'static str) -> impl clap::builder::TypedValueParser<Value = T>
where
    T: Copy + Clone + Send + Sync + FromStr<Err = UnknownWord> + 'static,
{
    PossibleValuesParser::new(all.iter().map(|value| word(*value))).try_map(|word| word.parse::<T>())
}

impl Import {
    fn reading(&self) -> Result<Reading, Failure> {
        let wish = ColumnWish {
            profile: self.profile,
            delimiter: self.delimiter.clone(),
            decimal: self.decimal.clone(),
            date_format: self.date_format.clone(),
            date: self.date_column.clone(),
            amount: self.amount_column.clone(),
            currency_column: self.currency_column.clone(),
            currency: self.currency.clone(),
            payer: self.payer_column.clone(),
            remittance: self.remittance_column.clone(),
            reference: self.reference_column.clone(),
        };
        let sentence = |WishFault(option, sentence): &WishFault| format!("--{option}: {sentence}");
        let columns = wish.columns().map_err(|faults| Failure::misused(faults.iter().map(sentence).collect::<Vec<_>>().join(" ")))?;
        Ok(Reading { format: self.format, columns })
    }
}

/// `igny8 statement …`.
pub(crate) async fn obey(config: Config, command: Statements, output: Output) -> Result<(), Failure> {
    // Whatever is wrong with the command or the file is told before a database is asked.
    let file = match &command {
        Statements::Import(import) => Some((import.reading()?, bytes_of(&import.file)?)),
        Statements::Show { .. } | Statements::Apply(_) => None,
    };
    let database = Database::open(&config).await?;
    let done = match serve::state(config, database.pool.clone()) {
        Ok(state) => match (command, file) {
            (Statements::Apply(apply), _) => self::apply(&state, &apply, output).await,
            (Statements::Show { id }, _) => show(&state, StatementId(id), output).await,
            (Statements::Import(_), file) => import(&state, file, output).await,
        },
        Err(failure) => Err(failure),
    };
    database.close().await;
    done
}

/// A whole file, if it is not too long.
fn bytes_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| Failure::misused(format!("{} can't be read: {error}", path.display()));
    let limit = u64::try_from(STATEMENT_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > STATEMENT_BYTES_MAX {
        return Err(Failure::failed(format!("{} has more than 2 MiB and nothing of it was taken; split it", path.display())));
    }
    Ok(bytes)
}

async fn import(state: &AppState, file: Option<(Reading, Vec<u8>)>, output: Output) -> Result<(), Failure> {
    let (reading, bytes) = file.unwrap_or_default();
    let progress = Progress::start();
    progress.show("reading the file");
    let read = service::import(&state.pool, bytes, reading, &Origin::cli().actor, state.clock.now()).await;
    let statement = whole_of(state, read, progress).await?;
    output.either(&statement, || format!("{}\n{}", imported(&statement), lines_of(&statement.staged)));
    Ok(())
}

async fn show(state: &AppState, id: StatementId, output: Output) -> Result<(), Failure> {
    let progress = Progress::start();
    let opened = service::open(&state.pool, id, 0).await;
    let statement = whole_of(state, opened, progress).await?;
    output.either(&statement, || format!("{}\n{}", head(&statement), lines_of(&statement.staged)));
    Ok(())
}

/// A statement with all its lines.
async fn whole_of(state: &AppState, first: Result<Statement, StatementError>, progress: Progress) -> Result<Statement, Failure> {
    let matched = &mut |done: usize, all: i64| progress.show(&format!("matching: {done} of {all} lines"));
    let statement = match first {
        Ok(first) => service::open_whole(&state.pool, first, matched).await,
        Err(error) => Err(error),
    };
    progress.end();
    statement.map_err(refused)
}

async fn apply(state: &AppState, apply: &Apply, output: Output) -> Result<(), Failure> {
    let statement = StatementId(apply.id);
    let first = service::open(&state.pool, statement, 0).await;
    let whole = whole_of(state, first, Progress::start()).await?;
    let (lines, least) = match apply.sure {
        true => (sure(&whole.staged), Certainty::Sure),
        false => (apply.lines.clone(), Certainty::Likely),
    };
    let origin = Origin::cli();
    let by = Hand { user: None, origin: &origin };
    let (mut results, progress) = (Vec::new(), Progress::start());
    for line in &lines {
        progress.show(&format!("applying: {} of {} lines", results.len(), lines.len()));
        let wish = LineWish { statement, line: *line, least, run: Run::of(Some(apply.dry_run)) };
        results.push(told(*line, service::apply(&state.pool, wish, by, terms(state), state.clock.now()).await));
    }
    progress.end();
    output.either(&results, || results_of(&results));
    // Which lines were refused, and why, stands in the table.
    if results.iter().any(|result| result.outcome == LineOutcome::Refused) { Err(Failure::told_already()) } else { Ok(()) }
}

/// The lines that are sure and not yet payments.
fn sure(staged: &[StatementLine]) -> Vec<i32> {
    let sure = staged.iter().filter(|line| line.applied_at.is_none() && line.r#match.certainty == Certainty::Sure);
    sure.map(|line| line.line).collect()
}

fn refused(error: StatementError) -> Failure {
    match error {
        StatementError::NotFound => Failure::failed("there is no such statement"),
        StatementError::Billing(error) => Failure::failed(whole(&error)),
        StatementError::Fault(_) | StatementError::NoLine | StatementError::Unmatched(_) | StatementError::InvoiceClosed => {
            Failure::failed(Problem::from(error).sentence().trim_end_matches('.'))
        }
    }
}

fn head(statement: &Statement) -> String {
    let summary = &statement.summary;
    let (lines, applied) = (summary.lines, summary.applied);
    let known = match summary.known_lines {
        0 => String::new(),
        known => format!(", {known} more stood in earlier statements"),
    };
    format!("Statement {} ({}): {lines} line(s), {applied} applied{known}.", summary.id, summary.format)
}

fn imported(statement: &Statement) -> String {
    if !statement.already_imported {
        return head(statement);
    }
    let (actor, at) = (&statement.summary.actor, statement.summary.created_at.format("%Y-%m-%d %H:%M"));
    format!("This very file was read in before, by {actor} on {at}; nothing changed now.\n{}", head(statement))
}

fn lines_of(lines: &[StatementLine]) -> String {
    if lines.is_empty() {
        return "Every line of it stood in earlier statements.".to_owned();
    }
    let amounts = lines.iter().map(|line| format!("{}{} {}", sign(line.direction), line.amount, line.currency)).collect::<Vec<_>>();
    let width = amounts.iter().map(String::len).max().unwrap_or(0);
    let rows = lines.iter().zip(amounts).map(|(line, amount)| {
        let found = &line.r#match;
        let account = found.account_slug.clone().zip(found.account_id).map(|(slug, id)| format!("{slug} ({id})"));
        let state = if line.applied_at.is_some() { "applied" } else { found.certainty.as_str() };
        let why = if line.applied_at.is_some() { line.payment_id.map(|id| format!("payment {id}")) } else { Some(found.why.to_owned()) };
        let (invoice, why) = (text(found.invoice_number.as_ref()), text(why.as_ref()));
        let (payer, wrote) = (clipped(&line.payer_name), clipped(&line.remittance));
        [
            line.line.to_string(),
            line.booked_on.to_string(),
            format!("{amount:>width$}"),
            payer,
            wrote,
            state.to_owned(),
            why,
            invoice,
            text(account.as_ref()),
        ]
    });
    table(["line", "date", "amount", "payer", "reference", "match", "because of", "invoice", "account"], rows)
}

fn results_of(results: &[LineResult]) -> String {
    if results.is_empty() {
        return "No line is sure; choose with --lines.".to_owned();
    }
    let rows = results.iter().map(|result| [result.line.to_string(), result.outcome.to_string(), result.message.clone()]);
    table(["line", "outcome", "what happened"], rows)
}

fn sign(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "",
        Direction::Out => "-",
    }
}

fn text(value: Option<&String>) -> String {
    value.map_or_else(|| "–".to_owned(), Clone::clone)
}

/// As much of a text as a cell bears.
fn clipped(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}
