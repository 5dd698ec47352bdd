//! Downgrades, which this store has none of: there is no older release that could read its files.

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::downgrade_request::DowngradeAction;

use super::{Caller, Engine};
use crate::error::{Result, StoreError};

impl Engine {
    /// Answers as etcd 3.5 does for a target that cannot be reached.
    pub async fn downgrade(
        &self,
        caller: Caller,
        request: api::DowngradeRequest,
    ) -> Result<api::DowngradeResponse> {
        self.check_admin(caller.as_ref())?;
        let known = DowngradeAction::try_from(request.action);
        let action = known.map_err(|_| StoreError::UnknownMethod)?;
        if action == DowngradeAction::Cancel {
            self.raft.read_index().await?;
            return Err(StoreError::NoInflightDowngrade);
        }
        check_version(&request.version)?;
        self.raft.read_index().await?;
        if self.shared.members.cluster_version().is_none() {
            return Err(StoreError::ClusterVersionUnavailable);
        }
        Err(StoreError::InvalidDowngradeTargetVersion)
    }
}

/// `3.4` or `3.4.0`.
fn check_version(version: &str) -> Result<()> {
    let parts: Vec<_> = version.split('.').collect();
    let numbers = parts.iter().all(|part| part.parse::<u32>().is_ok());
    if numbers && (2..=3).contains(&parts.len()) {
        Ok(())
    } else {
        Err(StoreError::WrongDowngradeVersionFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_two_or_three_numbers() {
        assert!(check_version("3.4").is_ok() && check_version("3.4.0").is_ok());
        for bad in ["", "3", "3.x", "a.b.c", "3.4.0.1"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }
}
