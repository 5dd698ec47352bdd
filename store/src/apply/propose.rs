//! Commands that the store gives itself.

use async_trait::async_trait;
use revkeep_schemas::store_api::proposal::Command;

use super::Response;
use crate::error::Result;

/// Proposes commands of the store's own: the end of a lease whose time is over, an alarm. They are made as
/// [`Auth::internal`](crate::auth::Auth::internal) says, because authentication concerns them too.
#[async_trait]
pub trait Propose: Send + Sync + 'static {
    /// Proposes a command and waits until this member has applied it.
    async fn propose(&self, command: Command) -> Result<Response>;
}
