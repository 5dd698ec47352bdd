//! What only the leader can answer, besides consensus.

use std::sync::Arc;

use async_trait::async_trait;
use revkeep_schemas::etcd_api::etcdserverpb::{LeaseTimeToLiveRequest, LeaseTimeToLiveResponse};

use crate::Result;

/// Whether a member leads.
#[async_trait]
pub trait Lead: Send + Sync + 'static {
    /// Asks the others whether this member still leads. A member that was paused or cut off may believe so for a while
    /// when another leads already.
    async fn is_certain(&self) -> bool;
}

/// What only the leader can answer, because it keeps the leases' time. A member that does not lead asks the leader's
/// through [`RaftHandle::renew_lease`](super::RaftHandle::renew_lease) and its sibling.
#[async_trait]
pub trait LeaderDuties: Send + Sync + 'static {
    /// Takes the means to ask whether this member leads; called once, before anything else.
    fn set_lead(&self, lead: Arc<dyn Lead>);

    /// Renews a lease and returns its TTL in seconds. `NotPrimary` when this member does not keep the leases' time.
    async fn renew_lease(&self, id: i64) -> Result<i64>;

    /// What is left of a lease, and its keys if asked for.
    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse>;
}
