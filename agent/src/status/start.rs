//! The tasks of the status.

use std::sync::Arc;

use revkeep_vault::door::{Door, Identity, TlsFiles};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::handle::StatusHandle;
use super::listen::Listen;
use super::observe::observe;
use super::server::{router, serve};
use crate::AgentError;
use crate::source::Connection;

/// Where the status is served, and how.
#[derive(Clone, Debug, Default)]
pub struct StatusAddress {
    /// Where.
    pub listen: Listen,
    /// By TLS, with these files; over plain HTTP without them.
    pub tls: Option<TlsFiles>,
}

/// The running tasks; dropped, they end.
#[derive(Debug)]
pub(crate) struct Running {
    _done: DropGuard,
    _observing: AbortOnDropHandle<()>,
    serving: Option<AbortOnDropHandle<()>>,
}

impl Running {
    /// Ends them; answers that are on their way may go out first.
    pub(crate) async fn end(self) {
        let Self {
            _done: done,
            _observing: observing,
            serving,
        } = self;
        done.disarm().cancel();
        // Neither can fail but by a panic, which was logged.
        let _ = observing.await;
        if let Some(serving) = serving {
            let _ = serving.await;
        }
    }
}

/// Serves the status, and observes what nobody tells.
///
/// # Errors
/// [`AgentError::Config`] when an address that was given cannot be taken.
pub(crate) async fn start(
    status: &Arc<StatusHandle>,
    address: &StatusAddress,
    connection: Connection,
) -> Result<Running, AgentError> {
    let done = CancellationToken::new();
    let mut health = None;
    let mut serving = None;
    if let Some(listener) = address.listen.bind().await? {
        let tls = match address.tls.clone() {
            Some(files) => Some(Arc::new(Identity::read(files).await?)),
            None => None,
        };
        let by_tls = tls.is_some();
        let address = listener.local_addr().map(|address| address.to_string());
        let address = address.unwrap_or_default();
        let door = Door::open(listener, tls).map_err(AgentError::io("open the status port"))?;
        let (router, answers) = router(status)?;
        tracing::info!(address, by_tls, "the status is served");
        health = Some(answers);
        serving = Some(AbortOnDropHandle::new(tokio::spawn(serve(
            door,
            router,
            done.clone(),
        ))));
    }
    let observing = observe(Arc::clone(status), connection, health, done.clone());
    Ok(Running {
        _done: done.drop_guard(),
        _observing: AbortOnDropHandle::new(tokio::spawn(observing)),
        serving,
    })
}
