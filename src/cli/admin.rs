//! Commands that change what is stored.

use super::{
    database::{self, Database},
    failure::{Failure, whole},
    output::Output,
    serve,
};
use igny8::{
    accounts::staff::{self, Developer, DeveloperError, SYSTEM_SLUG},
    auth::{
        model::{Email, Password},
        passwords::NewPassword,
        service::Desk,
    },
    config::Config,
    db,
    state::AppState,
};
use secrecy::SecretString;
use std::io::Read as _;

/// A password's length at the most, in bytes, with its line end.
const PASSWORD_BYTES_MAX: u64 = 1_024;

/// `igny8 migrate`.
pub(crate) async fn migrate(config: &Config, output: Output) -> Result<(), Failure> {
    let applied = match &config.database_url {
        Some(url) => database::migrate(config, url).await?,
        None => database::migrate_private(config).await?,
    };
    output.either(&serde_json::json!({ "applied": applied }), || match applied {
        0 => "the schema was current".to_owned(),
        1 => "1 migration applied".to_owned(),
        _ => format!("{applied} migrations applied"),
    });
    Ok(())
}

/// `igny8 seed-plans`.
pub(crate) async fn seed_plans(config: &Config, output: Output) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let added = db::seed(&database.pool).await;
    database.close().await;
    let added = added?;
    output.either(&serde_json::json!({ "added": added }), || match added {
        0 => "nothing was missing".to_owned(),
        _ => format!("{added} rows of reference data added"),
    });
    Ok(())
}

/// `igny8 create-admin`.
pub(crate) async fn create_admin(config: Config, email: &str, output: Output) -> Result<(), Failure> {
    let email = Email::parse(email).map_err(|error| Failure::misused(format!("--email: {error}")))?;
    let password = password_from_stdin()?;
    let database = Database::open(&config).await?;
    let state = serve::state(config, database.pool.clone());
    let created = match state {
        Ok(state) => create_developer(&state, &email, &password).await,
        Err(failure) => Err(failure),
    };
    database.close().await;
    let created = created?;
    let facts = serde_json::json!({ "email": email.as_str(), "role": "developer", "user_id": created.user, "account_id": created.account });
    output.either(&facts, || format!("{} is a developer of {SYSTEM_SLUG} (account {}).", email.as_str(), created.account));
    Ok(())
}

async fn create_developer(state: &AppState, email: &Email, password: &NewPassword) -> Result<Developer, Failure> {
    let desk = Desk { pool: &state.pool, authenticator: &state.authenticator, config: &state.config };
    staff::create_developer(desk, email, password, state.clock.now()).await.map_err(|error| match error {
        DeveloperError::Password(_) => Failure::misused(whole(&error)),
        DeveloperError::EmailTaken
        | DeveloperError::NoPlan
        | DeveloperError::SlugTaken
        | DeveloperError::Hashing(_)
        | DeveloperError::Store(_) => Failure::failed(whole(&error)),
    })
}

/// One line, without its end.
fn password_from_stdin() -> Result<NewPassword, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::misused(format!("the password on standard input can't be read: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') || u64::try_from(text.len()).unwrap_or(u64::MAX) > PASSWORD_BYTES_MAX {
        return Err(Failure::misused("give the password as one line on standard input"));
    }
    NewPassword::parse(Password(SecretString::from(line.to_owned()))).map_err(|error| Failure::misused(format!("password: {error}")))
}
