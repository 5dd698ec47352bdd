//! What other members ask the leader.

use std::sync::Arc;

use async_trait::async_trait;
use revkeep_schemas::etcd_api::etcdserverpb::{LeaseTimeToLiveRequest, LeaseTimeToLiveResponse};

use super::Lessor;
use crate::error::Result;
use crate::raft::{Lead, LeaderDuties};

#[async_trait]
impl LeaderDuties for Lessor {
    fn set_lead(&self, lead: Arc<dyn Lead>) {
        // Set once, as the duties are.
        let _ = self.lead.set(lead);
    }

    async fn renew_lease(&self, id: i64) -> Result<i64> {
        self.renew(id).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.time_to_live(request)
    }
}
