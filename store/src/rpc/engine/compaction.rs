//! Forgetting history.

use revkeep_schemas::etcd_api::etcdserverpb::{CompactionRequest, CompactionResponse};
use revkeep_schemas::store_api::proposal::Command;

use super::core::mismatch;
use super::{Caller, Engine};
use crate::apply::Response;
use crate::error::Result;

impl Engine {
    /// Compacts; with `physical` answers once the rows are gone from the disk.
    pub async fn compact(
        &self,
        caller: Caller,
        request: CompactionRequest,
    ) -> Result<CompactionResponse> {
        self.check_admin(caller.as_ref())?;
        match self.propose(Command::Compaction(request), caller).await? {
            Response::Compaction(mut response, ticket) => {
                if request.physical {
                    ticket.wait().await?;
                }
                response.header = Some(self.header());
                Ok(response)
            }
            other => Err(mismatch(&other)),
        }
    }
}
