//! `revkeep-store serve`.

use tokio_util::sync::CancellationToken;

use super::ServeFlags;
use crate::error::Result;
use crate::server::{Environment, Node};

/// Runs a member until `stop`, or until it cannot go on.
pub(super) async fn serve(flags: ServeFlags, stop: CancellationToken) -> Result<()> {
    let config = flags.config()?;
    let node = Box::pin(Node::start(config, Environment::default())).await?;
    tokio::select! {
        () = stop.cancelled() => tracing::info!("stopping"),
        ended = node.ended() => ended?,
    }
    node.stop().await
}
