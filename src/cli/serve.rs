//! `igny8 serve`: from the settings to a server that answers, and back.

use super::{
    database::Database,
    failure::{Failure, whole},
    output::Output,
};
use igny8::{
    auth::{authenticator::Authenticator, model::HashingCost, tokens::TokenSecrets},
    build_info::{BUILD, BuildInfo},
    clock::SystemClock,
    config::{Config, JWT_SECRET_BYTES_MIN},
    db::Pool,
    jobs, meters, secrets, server,
    state::AppState,
    traces::{self, Courier},
};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// How long the last spans may take to their collector, while the database is let go of.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn serve(config: Config, output: Output) -> Result<(), Failure> {
    // The port first: when it is taken, nothing else needs to begin. Whoever connects meanwhile waits in the queue.
    let listener = listen_at("BIND_ADDR", config.bind_addr).await?;
    let metrics = match config.metrics_addr {
        Some(address) => Some((listen_at("METRICS_ADDR", address).await?, start_meters()?)),
        None => None,
    };
    let address = listener.local_addr().map_err(|error| Failure::failed(whole(&error)))?;
    let asked_to_stop = asked_to_stop()?;
    let traces = start_traces(&config)?;
    let database = Database::open(&config).await?;
    announce(&config, address, database.is_new, output);
    let state = state(config, database.pool.clone())?;

    let stop = CancellationToken::new();
    if let Some((listener, handle)) = metrics {
        tokio::spawn(server::serve_metrics(listener, state.clone(), handle, stop.clone().cancelled_owned()));
    }
    let porter = tokio::spawn(jobs::run(state.clone(), jobs::ROUND, stop.clone()));
    let served = server::serve(listener, state, async {
        asked_to_stop.await;
        tracing::info!("asked to stop: finishing what was begun");
        stop.cancel();
    });
    let served = served.await;
    stop.cancel();
    if let Err(error) = porter.await {
        tracing::error!(%error, "the scheduler ended badly");
    }
    let told = async {
        if let Some(courier) = traces {
            courier.close(LAST_SPANS).await;
        }
    };
    tokio::join!(database.close(), told);
    served.map_err(|error| Failure::failed(format!("the server stopped: {error}")))
}

/// What every request reaches, on the machine's clock. Makes the development secret where it is missing.
pub(crate) fn state(mut config: Config, pool: Pool) -> Result<AppState, Failure> {
    if config.jwt_secret_key.is_none() {
        config.jwt_secret_key = Some(development_secret(&config.data_dir)?);
    }
    let current = config.jwt_secret_key.clone().ok_or_else(|| Failure::misused("JWT_SECRET_KEY: required"))?;
    let secrets = TokenSecrets { current, previous: config.jwt_previous_secret_keys.clone() };
    let authenticator = Authenticator::new(HashingCost::PRODUCTION, &secrets).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(AppState::new(pool, Arc::new(SystemClock::start()), config, authenticator))
}

/// Begins to count, before anything happens that would be missed.
fn start_meters() -> Result<PrometheusHandle, Failure> {
    meters::start().map_err(|error| Failure::failed(format!("metrics can't be recorded: {error}")))
}

/// Begins to trace, where a collector is named.
fn start_traces(config: &Config) -> Result<Option<Courier>, Failure> {
    config.tracing.as_ref().map(traces::start).transpose().map_err(|error| Failure::failed(error.to_string()))
}

async fn listen_at(variable: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Failure::failed(format!("{address} is in use by another program; stop it or set {variable}")),
        ErrorKind::AddrNotAvailable => Failure::misused(format!("{variable}: this machine does not have the address {address}")),
        ErrorKind::PermissionDenied => {
            Failure::misused(format!("{variable}: this user may not listen on {address}; choose a port above 1023"))
        }
        _ => Failure::failed(format!("can't listen on {address}: {error}")),
    })
}

/// Ends when SIGTERM or SIGINT arrives. Both are caught from the call on.
fn asked_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let caught = |kind| signal(kind).map_err(|error| Failure::failed(format!("can't catch signals: {error}")));
    let (mut terminated, mut interrupted) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
}

/// The URL; after the first start also what to do next. The log tells which build it is.
fn announce(config: &Config, address: SocketAddr, is_first_start: bool, output: Output) {
    let BuildInfo { version, commit, dirty, built_at } = BUILD;
    tracing::info!(version, commit, dirty, built_at, %address, "serving");
    let url = config.public_url.clone().unwrap_or_else(|| format!("http://{}", reachable(address)));
    let docs = format!("{url}/api/docs/");
    let program = std::env::current_exe().map_or_else(|_| "igny8".to_owned(), |path| path.display().to_string());
    let facts = serde_json::json!({ "url": url, "docs": docs, "first_start": is_first_start, "build": BUILD });
    output.either(&facts, || {
        let served = format!("{BUILD}\nserves {url} (docs: {docs})");
        if !is_first_start {
            return served;
        }
        format!(
            "{served}\n\n\
             This was the first start: the database was migrated, and the plans are in it. What to do next:\n  \
             make an admin   {program} create-admin --email you@example.com --password-stdin\n  \
             try a route     curl {url}/api/v1/auth/plans/\n  \
             look around     {program} state"
        )
    });
}

/// An address that a client on this machine can use.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port())),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

/// The secret that signs tokens on a developer's machine: made once, then kept in a file that only we may read.
fn development_secret(data_dir: &Path) -> Result<SecretString, Failure> {
    let path = data_dir.join("jwt_secret");
    let failed = |error: io::Error| Failure::failed(format!("can't keep the development secret in {}: {error}", path.display()));
    if !path.exists() {
        fs::create_dir_all(data_dir).map_err(failed)?;
        // Written beside its place and then linked: two first starts at once agree on one secret, and none is half there.
        let draft = data_dir.join(format!("jwt_secret.{}", std::process::id()));
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let linked =
            written.and_then(|mut file| file.write_all(secrets::random_token().as_bytes())).and_then(|()| fs::hard_link(&draft, &path));
        fs::remove_file(&draft).map_err(failed)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    let secret = fs::read_to_string(&path).map_err(failed)?.trim().to_owned();
    if secret.len() < JWT_SECRET_BYTES_MIN {
        return Err(Failure::misused(format!("{} is too short for a secret; delete it, and a new one is made", path.display())));
    }
    Ok(SecretString::from(secret))
}
