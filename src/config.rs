//! Every environment variable, parsed once, with all errors at once. Secrets are wrapped, so that they can't be logged.

mod reader;
mod tracing;

use crate::money::{Credits, Money};
use ipnet::IpNet;
use reader::Reader;
use secrecy::SecretString;
use std::{fmt, net::SocketAddr, path::PathBuf};

pub use tracing::Tracing;

/// One environment variable that the program reads.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What serves when it is unset; empty: nothing.
    pub default: &'static str,
}

const fn variable(name: &'static str, default: &'static str) -> Variable {
    Variable { name, default }
}

/// All variables, in the order of `.env.example`, which a test compares with this list.
pub const VARIABLES: &[Variable] = &[
    variable("BIND_ADDR", "127.0.0.1:8010"),
    variable("PUBLIC_URL", ""),
    variable("APP_ENV", "development"),
    variable("DATABASE_URL", ""),
    variable("DATABASE_MIGRATE_URL", ""),
    variable("DATABASE_REPLICA_URL", ""),
    variable("DATABASE_POOL_SIZE", "16"),
    variable("DATABASE_POOLER", "session"),
    variable("COMBINER_SHARDS", "1"),
    variable("DATA_DIR", ".data"),
    variable("PG_BIN_DIR", ""),
    variable("JWT_SECRET_KEY", ""),
    variable("JWT_PREVIOUS_SECRET_KEYS", ""),
    variable("CORS_ALLOWED_ORIGINS", ""),
    variable("TRUSTED_PROXIES", ""),
    variable("TRIAL_DAYS", "14"),
    variable("GRACE_DAYS", "3"),
    variable("INVOICE_DUE_DAYS", "7"),
    variable("APPROVAL_THRESHOLD_CREDITS", ""),
    variable("APPROVAL_THRESHOLD_MONEY", ""),
    variable("RENEWAL_INVOICE_DAYS", "7"),
    variable("SELLER_NAME", "IGNY8"),
    variable("SELLER_ADDRESS", ""),
    variable("SELLER_TAX_ID", ""),
    variable("PASSWORD_LENGTH_MIN", "8"),
    variable("APP_URL", ""),
    variable("SMTP_URL", ""),
    variable("MAIL_FROM", "no-reply@igny8.invalid"),
    variable("MFA_REQUIRED_FOR_DEVELOPERS", "false"),
    variable("THROTTLE_DISABLED", "false"),
    variable("REDIS_URL", ""),
    variable("REDIS_TIMEOUT_MS", "50"),
    variable("METRICS_ADDR", ""),
    variable("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    variable("OTEL_SERVICE_NAME", "igny8"),
    variable("OTEL_TRACES_SAMPLER_ARG", "1"),
    variable("LOG_FORMAT", "pretty"),
    variable("LOG_LEVEL", "info"),
];

/// Our prefix for variables that others set for us; any other name with it is a typing error and refused.
const BUILD_VARIABLES: &[&str] = &["IGNY8_GIT_COMMIT", "IGNY8_GIT_DIRTY", "IGNY8_BUILD_TIME", "IGNY8_TOOLS"];

/// Fewer bytes than this make no HS256 key (RFC 7518, section 3.2).
pub const JWT_SECRET_BYTES_MIN: usize = 32;

crate::words! {
    /// Where the program runs.
    pub enum AppEnv {
        /// A developer's machine: secrets are made when missing.
        Development = "development",
        /// Strict: nothing is made up, nothing is switched off.
        Production = "production",
    }
}

crate::words! {
    /// How log lines look.
    pub enum LogFormat {
        /// For people.
        Pretty = "pretty",
        /// For machines, an object per line.
        Json = "json",
    }
}

crate::words! {
    /// Whom a database session belongs to between two transactions of ours.
    pub enum Sessions {
        /// To the connection: its settings and its prepared statements stay.
        Own = "session",
        /// To whoever comes next: a pooler lends it for one transaction at a time. Nothing is left on it or expected there.
        Shared = "transaction",
    }
}

/// What the environment says.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API listens.
    pub bind_addr: SocketAddr,
    /// Base of absolute links in answers, without a slash at the end; unset: taken from the request's Host.
    pub public_url: Option<String>,
    /// The database as the application's role; unset: the private Postgres.
    pub database_url: Option<SecretString>,
    /// The database as its owner, for migrations; unset: the same as `database_url`.
    pub database_migrate_url: Option<SecretString>,
    /// A replica of the database, for reads that may be a little old; unset: none.
    pub database_replica_url: Option<SecretString>,
    /// Connections in the pool, at most.
    pub database_pool_size: u32,
    /// What a pooler between us and the database lends, if there is one.
    pub database_pooler: Sessions,
    /// Connections that write debits and holds, each for its share of the accounts.
    pub combiner_shards: usize,
    /// Where the private Postgres and a generated secret live.
    pub data_dir: PathBuf,
    /// Where the Postgres binaries are; unset: looked for.
    pub pg_bin_dir: Option<PathBuf>,
    /// Development or production.
    pub app_env: AppEnv,
    /// Signs tokens. Unset in development: generated once into `data_dir`.
    pub jwt_secret_key: Option<SecretString>,
    /// Accepted while rotating, never used for signing.
    pub jwt_previous_secret_keys: Vec<SecretString>,
    /// Exact origins that browsers may call from.
    pub cors_allowed_origins: Vec<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Days of a trial (B1).
    pub trial_days: u16,
    /// Days between a paid period's end and suspension (B5).
    pub grace_days: u16,
    /// Days until an invoice is due.
    pub invoice_due_days: u16,
    /// Credits that one admin may move by one order; unset: any number.
    pub approval_threshold_credits: Option<Credits>,
    /// By how much one admin may take another amount than what is owed, or set a plan that costs so much; unset: any.
    pub approval_threshold_money: Option<Money>,
    /// Days before a paid period's end at which its renewal is invoiced.
    pub renewal_invoice_days: u16,
    /// Who sells, as it stands on invoices.
    pub seller_name: String,
    /// The seller's address, a line each.
    pub seller_address: Vec<String>,
    /// The seller's tax number.
    pub seller_tax_id: Option<String>,
    /// Fewest characters of a password.
    pub password_length_min: usize,
    /// Base of the web app, without a slash at the end: where the links in mails lead. Never taken from a request, whose Host
    /// anybody can write.
    pub app_url: String,
    /// The mail server; unset: mails become files in `data_dir`.
    pub smtp_url: Option<SecretString>,
    /// Who mails are from.
    pub mail_from: String,
    /// Whether developers need a second factor for whatever developers alone may do.
    pub mfa_required_for_developers: bool,
    /// Development only: no limits.
    pub throttle_disabled: bool,
    /// Redis that instances share their limits through; unset: each has its own.
    pub redis_url: Option<SecretString>,
    /// How long a request waits for Redis, in milliseconds; then it counts against this instance's own limits.
    pub redis_timeout_ms: u64,
    /// Where metrics are told; unset: nowhere.
    pub metrics_addr: Option<SocketAddr>,
    /// How requests are traced; unset: not at all.
    pub tracing: Option<Tracing>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// A filter such as `info` or `igny8=debug,warn`.
    pub log_level: String,
}

/// Everything that is wrong with the environment, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s):", self.0.len())?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for ConfigErrors {}

impl Config {
    /// Reads the process's environment, after `.env` of the working directory has filled what is unset.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn from_env() -> Result<Self, ConfigErrors> {
        match dotenvy::dotenv() {
            Err(error) if !error.not_found() => return Err(ConfigErrors(vec![format!(".env: {error}")])),
            _ => {}
        }
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect::<Vec<_>>();
        Self::parse(&names, |name| std::env::var(name).ok())
    }

    /// Reads an environment given as a function; `names` are all names that are set in it.
    pub fn parse(names: &[String], lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::of(lookup);
        for name in names.iter().filter(|name| name.starts_with("IGNY8_") && !BUILD_VARIABLES.contains(&name.as_str())) {
            reader.errors.push(format!("{name}: unknown variable; unset it (.env.example lists those that are read)"));
        }
        let mut config = Config {
            bind_addr: reader.parsed("BIND_ADDR", "an address such as 127.0.0.1:8010", SocketAddr::from(([127, 0, 0, 1], 8010))),
            public_url: reader.optional("PUBLIC_URL").map(|url| url.trim_end_matches('/').to_owned()),
            database_url: reader.optional("DATABASE_URL").map(SecretString::from),
            database_migrate_url: reader.optional("DATABASE_MIGRATE_URL").map(SecretString::from),
            database_replica_url: reader.optional("DATABASE_REPLICA_URL").map(SecretString::from),
            database_pool_size: reader.ranged("DATABASE_POOL_SIZE", 1, 500),
            database_pooler: reader.parsed("DATABASE_POOLER", "session or transaction", Sessions::Own),
            combiner_shards: reader.ranged("COMBINER_SHARDS", 1, 16),
            data_dir: PathBuf::from(reader.text("DATA_DIR")),
            pg_bin_dir: reader.optional("PG_BIN_DIR").map(PathBuf::from),
            app_env: reader.parsed("APP_ENV", "development or production", AppEnv::Production),
            jwt_secret_key: reader.optional("JWT_SECRET_KEY").map(SecretString::from),
            jwt_previous_secret_keys: reader.list("JWT_PREVIOUS_SECRET_KEYS").into_iter().map(SecretString::from).collect(),
            cors_allowed_origins: reader.list("CORS_ALLOWED_ORIGINS"),
            trusted_proxies: reader.networks("TRUSTED_PROXIES"),
            trial_days: reader.ranged("TRIAL_DAYS", 1, 365),
            grace_days: reader.ranged("GRACE_DAYS", 0, 90),
            invoice_due_days: reader.ranged("INVOICE_DUE_DAYS", 0, 365),
            approval_threshold_credits: reader.optional_as("APPROVAL_THRESHOLD_CREDITS", "a whole number such as 1000", |text| {
                text.parse().ok().and_then(|number: u32| Credits::new(i64::from(number)).ok())
            }),
            approval_threshold_money: reader.optional_as("APPROVAL_THRESHOLD_MONEY", "an amount such as 100.00", |text| text.parse().ok()),
            renewal_invoice_days: reader.ranged("RENEWAL_INVOICE_DAYS", 1, 29),
            seller_name: reader.text("SELLER_NAME"),
            seller_address: reader.lines("SELLER_ADDRESS"),
            seller_tax_id: reader.optional("SELLER_TAX_ID"),
            password_length_min: reader.ranged("PASSWORD_LENGTH_MIN", 8, 128),
            app_url: String::new(),
            smtp_url: reader.optional("SMTP_URL").map(SecretString::from),
            mail_from: reader.text("MAIL_FROM"),
            mfa_required_for_developers: reader.parsed("MFA_REQUIRED_FOR_DEVELOPERS", "true or false", false),
            throttle_disabled: reader.parsed("THROTTLE_DISABLED", "true or false", false),
            redis_url: reader.optional("REDIS_URL").map(SecretString::from),
            redis_timeout_ms: reader.ranged("REDIS_TIMEOUT_MS", 1, 10_000),
            metrics_addr: reader.address("METRICS_ADDR"),
            tracing: Tracing::read(&mut reader),
            log_format: reader.parsed("LOG_FORMAT", "pretty or json", LogFormat::Pretty),
            log_level: reader.text("LOG_LEVEL"),
        };
        config.app_url = reader.optional("APP_URL").unwrap_or_else(|| config.likely_app_url()).trim_end_matches('/').to_owned();
        config.check(&mut reader.errors);
        if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(reader.errors)) }
    }

    /// Where the web app probably is: the first origin that browsers may call from, else where the API is.
    fn likely_app_url(&self) -> String {
        let known = self.cors_allowed_origins.first().or(self.public_url.as_ref());
        known.cloned().unwrap_or_else(|| format!("http://{}", self.bind_addr))
    }

    /// Whether mails can be sent with these settings.
    fn check_mail(&self, errors: &mut Vec<String>) {
        use secrecy::ExposeSecret as _;
        if !self.app_url.starts_with("http://") && !self.app_url.starts_with("https://") {
            errors.push("APP_URL: give a base such as https://app.example.com".to_owned());
        }
        if self.mail_from.parse::<lettre::message::Mailbox>().is_err() {
            errors.push("MAIL_FROM: give an address such as no-reply@example.com".to_owned());
        }
        let Some(url) = &self.smtp_url else { return };
        let url = url.expose_secret();
        if lettre::AsyncSmtpTransport::<lettre::Tokio1Executor>::from_url(url).is_err() {
            errors.push("SMTP_URL: give a URL such as smtps://user:password@mail.example.com".to_owned());
        }
        if self.mail_from.trim_end_matches('>').ends_with(".invalid") {
            errors.push("MAIL_FROM: required with SMTP_URL, for no mail server takes mail from the default".to_owned());
        }
        if self.app_env == AppEnv::Production && url.starts_with("smtp://") && url.contains('@') && !url.contains("tls=required") {
            errors.push("SMTP_URL: would send its password in clear; use smtps:// or add ?tls=required".to_owned());
        }
    }

    /// Whether Redis can be found, and metrics have a place of their own.
    fn check_neighbours(&self, errors: &mut Vec<String>) {
        use secrecy::ExposeSecret as _;
        if self.redis_url.as_ref().is_some_and(|url| redis::Client::open(url.expose_secret()).is_err()) {
            errors.push("REDIS_URL: give a URL such as redis://redis:6379 or unix:///run/redis.sock".to_owned());
        }
        // They tell more than strangers should know, and nobody is asked who he is there.
        let is_public = |metrics: SocketAddr| metrics.port() != 0 && metrics.port() == self.bind_addr.port();
        if self.metrics_addr.is_some_and(is_public) {
            errors.push("METRICS_ADDR: needs a port of its own, not BIND_ADDR's".to_owned());
        }
    }

    /// Rules between variables: what production refuses, and what can't serve anywhere.
    fn check(&self, errors: &mut Vec<String>) {
        use secrecy::ExposeSecret as _;
        let secrets = self.jwt_secret_key.iter().map(|key| ("JWT_SECRET_KEY", key));
        let previous = self.jwt_previous_secret_keys.iter().map(|key| ("JWT_PREVIOUS_SECRET_KEYS", key));
        for (name, key) in secrets.chain(previous) {
            if key.expose_secret().len() < JWT_SECRET_BYTES_MIN {
                errors.push(format!("{name}: shorter than {JWT_SECRET_BYTES_MIN} bytes; make one with `openssl rand -base64 48`"));
            }
        }
        for origin in &self.cors_allowed_origins {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*'])) {
                errors.push(format!("CORS_ALLOWED_ORIGINS: '{origin}' is no exact origin such as https://app.example.com"));
            }
        }
        if self.public_url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            errors.push("PUBLIC_URL: give a base such as https://api.example.com".to_owned());
        }
        if self.database_url.is_none() && self.database_migrate_url.is_some() {
            errors.push("DATABASE_MIGRATE_URL: means nothing without DATABASE_URL".to_owned());
        }
        if self.database_url.is_none() && self.database_pooler == Sessions::Shared {
            errors.push("DATABASE_POOLER: transaction means nothing without DATABASE_URL".to_owned());
        }
        if let Some(url) = &self.database_replica_url
            && (self.database_url.is_none() || url.expose_secret().parse::<sqlx::postgres::PgConnectOptions>().is_err())
        {
            errors.push(
                "DATABASE_REPLICA_URL: give a URL such as postgres://user:password@replica:5432/igny8, beside DATABASE_URL".to_owned(),
            );
        }
        self.check_mail(errors);
        self.check_neighbours(errors);
        if self.app_env == AppEnv::Production {
            if self.jwt_secret_key.is_none() {
                errors.push("JWT_SECRET_KEY: required in production; make one with `openssl rand -base64 48`".to_owned());
            }
            if self.throttle_disabled {
                errors.push("THROTTLE_DISABLED: refused in production (requirements F); unset it".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let names = pairs.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        Config::parse(&names, |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_empty_environment_is_a_developers() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.app_env, config.trial_days, config.grace_days), (AppEnv::Development, 14, 3));
        assert_eq!(config.bind_addr.to_string(), "127.0.0.1:8010");
    }

    #[test]
    fn all_errors_are_listed_at_once_by_name() {
        let ConfigErrors(errors) = parse(&[
            ("BIND_ADDR", "here"),
            ("TRIAL_DAYS", "0"),
            ("APP_ENV", "staging"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,moon"),
            ("IGNY8_DEBUG", "1"),
        ])
        .unwrap_err();
        for name in ["BIND_ADDR", "TRIAL_DAYS", "APP_ENV", "TRUSTED_PROXIES", "IGNY8_DEBUG"] {
            assert!(errors.iter().any(|line| line.starts_with(name)), "{name} in {errors:?}");
        }
    }

    #[test]
    fn f_production_refuses_the_throttle_switch_and_missing_or_short_secrets() {
        let ConfigErrors(errors) = parse(&[("APP_ENV", "production"), ("THROTTLE_DISABLED", "true")]).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        let ConfigErrors(errors) = parse(&[("JWT_SECRET_KEY", "short")]).unwrap_err();
        assert!(errors[0].starts_with("JWT_SECRET_KEY: shorter than 32"));
    }

    #[test]
    fn metrics_have_a_port_of_their_own_and_redis_a_url_that_can_be_read() {
        assert!(parse(&[("METRICS_ADDR", "127.0.0.1:9010"), ("REDIS_URL", "redis://redis:6379")]).is_ok());
        for (name, wrong) in
            [("METRICS_ADDR", "here"), ("METRICS_ADDR", "0.0.0.0:8010"), ("REDIS_URL", "http://redis"), ("REDIS_URL", "rediss://redis")]
        {
            let ConfigErrors(errors) = parse(&[(name, wrong)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(name), "{wrong}: {errors:?}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config = parse(&[("JWT_SECRET_KEY", "planted-secret-planted-secret-planted")]).unwrap();
        assert!(!format!("{config:?}").contains("planted"));
    }
}
