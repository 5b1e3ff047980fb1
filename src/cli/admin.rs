//! Commands that change what is stored.

use super::{
    database::{self, Database},
    failure::{Failure, whole},
    output::Output,
    serve,
};
use igny8::{
    accounts::service::create_developer,
    auth::{
        model::{Email, Password},
        passwords::NewPassword,
    },
    config::Config,
    db,
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
    let password = NewPassword::parse(Password(password_from_stdin()?)).map_err(|fault| Failure::misused(format!("password: {fault}")))?;
    let database = Database::open(&config).await?;
    let state = serve::state(config, database.pool.clone())?;
    let created = create_developer(state.desk(), &email, &password, state.clock.now()).await;
    drop(state);
    database.close().await;
    let made = created.map_err(|error| Failure::failed(whole(&error)))?;
    let facts = serde_json::json!({ "email": email.as_str(), "role": "developer", "user_id": made.user, "account_id": made.account });
    output.either(&facts, || format!("{} is a developer of aws-admin (account {}).", email.as_str(), made.account));
    Ok(())
}

/// One line, without its end.
fn password_from_stdin() -> Result<SecretString, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::misused(format!("the password on standard input can't be read: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') || u64::try_from(text.len()).unwrap_or(u64::MAX) > PASSWORD_BYTES_MAX {
        return Err(Failure::misused("give the password as one line on standard input"));
    }
    Ok(SecretString::from(line.to_owned()))
}
