//! The service from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::claims::Claims;
use super::guard::Guard;
use super::http::router;
use super::job::Job;
use super::options::ServeOptions;
use super::run::{Runner, Turns, policy};
use super::state::State;
use crate::catalog::Catalog;
use crate::door::{Caller, Door, Identity};
use crate::error::{ErrorKind, VaultError};
use crate::vault::Vault;

/// How long open questions may take when the service ends.
const GRACE: Duration = Duration::from_secs(5);

/// How a running service is told what to do.
#[derive(Clone, Debug)]
pub struct Control {
    /// Ends it in order.
    pub stop: CancellationToken,
    /// Each change has policy, token and certificates read again.
    pub reload: watch::Receiver<u64>,
}

/// Serves until it is told to stop. The catalog is filled once at the start.
///
/// # Errors
/// `Config` for a port, certificate, token or policy that cannot be used; later errors are logged, and what failed is done
/// again when it is due.
pub async fn serve(
    vault: Vault,
    catalog: Catalog,
    options: ServeOptions,
    control: Control,
) -> Result<(), VaultError> {
    let (changed, policies) = watch::channel(policy(options.policy.as_ref())?);
    let identity = match options.tls.clone() {
        Some(files) => Some(Arc::new(Identity::read(files).await?)),
        None => None,
    };
    let asks = options.tls.as_ref().is_some_and(|tls| tls.cacert.is_some());
    let guard = Arc::new(Guard::new(asks));
    if let Some(file) = &options.token_file {
        guard.read(file)?;
    }
    if !options.listen.ip().is_loopback() && !asks && options.token_file.is_none() {
        tracing::warn!(
            "anybody who reaches the port is answered: give --token-file, or --cert, --key and --cacert"
        );
    }
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        let what = format!(
            "cannot listen on {}: give another address by --listen",
            options.listen
        );
        VaultError::new(ErrorKind::Config, what).with_source(error)
    })?;
    let address = listener.local_addr();
    let door = Door::open(listener, identity.clone())
        .map_err(|error| VaultError::new(ErrorKind::Config, "open the port").with_source(error))?;
    let state = Arc::new(State::default());
    let router = router(
        vault.clone(),
        catalog.clone(),
        Arc::clone(&state),
        Arc::clone(&guard),
        control.stop.clone(),
    )?;
    if let Ok(address) = address {
        tracing::info!(%address, by_tls = identity.is_some(), "serving");
    }
    let runner = Arc::new(Runner {
        claims: Claims::of(&catalog, &vault),
        vault,
        catalog: catalog.clone(),
        state,
        holder: format!("{:016x}", rand::random::<u64>()),
        options: options.clone(),
        policy: policies,
        stop: control.stop.clone(),
        turns: Turns::default(),
    });
    let mut tasks = JoinSet::new();
    let first = Arc::clone(&runner);
    tasks.spawn(async move {
        // By this minute, so that services that start together fill a shared catalog once.
        let now = chrono::Utc::now();
        let slot = now - chrono::TimeDelta::milliseconds(now.timestamp_millis().rem_euclid(60_000));
        if let Err(error) = first.due(Job::CatalogSync, slot).await {
            tracing::warn!(%error, "the catalog could not be filled");
        }
    });
    for what in options.schedules.clone() {
        tasks.spawn(Arc::clone(&runner).keep(what));
    }
    tasks.spawn(reloading(
        options,
        control.clone(),
        changed,
        guard,
        identity,
    ));
    let service = router.into_make_service_with_connect_info::<Caller>();
    let stopped = control.stop.clone().cancelled_owned();
    let serving = axum::serve(door, service).with_graceful_shutdown(stopped);
    let late = async {
        control.stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = late => Ok(()),
    };
    control.stop.cancel();
    // Jobs give up what they claimed.
    let jobs = async { while tasks.join_next().await.is_some() {} };
    let _late = tokio::time::timeout(GRACE, jobs).await;
    catalog.close().await;
    ended.map_err(|error| VaultError::new(ErrorKind::Internal, "serve the port").with_source(error))
}

/// Reads policy, token and certificates again when that is asked for. What is wrong changes nothing.
async fn reloading(
    options: ServeOptions,
    mut control: Control,
    changed: watch::Sender<Option<crate::retention::Policy>>,
    guard: Arc<Guard>,
    identity: Option<Arc<Identity>>,
) {
    loop {
        tokio::select! {
            asked = control.reload.changed() => if asked.is_err() {
                control.stop.cancelled().await;
                return;
            },
            () = control.stop.cancelled() => return,
        }
        match policy(options.policy.as_ref()) {
            Ok(fresh) => {
                let _unused = changed.send_replace(fresh);
                tracing::info!("the policy was read again");
            }
            Err(error) => tracing::warn!(%error, "the policy stays as it was"),
        }
        if let Some(file) = &options.token_file
            && let Err(error) = guard.read(file)
        {
            tracing::warn!(%error, "the token stays as it was");
        }
        if let Some(identity) = &identity {
            identity.reload().await;
        }
    }
}
