//! What every call carries.

use revkeep_schemas::store_api::Route;
use tonic::Status;

/// The version of the protocol between members. A member refuses calls of another.
pub(in crate::raft) const PROTOCOL: u32 = 1;

/// Refuses a call that was meant for another member, another cluster, or another version of this protocol.
pub(super) fn check(route: Option<&Route>, cluster_id: u64, member_id: u64) -> Result<u64, Status> {
    let route =
        route.ok_or_else(|| Status::invalid_argument("the call does not say who speaks"))?;
    if route.version != PROTOCOL {
        return Err(Status::failed_precondition(format!(
            "member {:x} speaks version {} of the protocol between members, this one version {PROTOCOL}",
            route.from, route.version
        )));
    }
    if route.cluster_id != cluster_id {
        return Err(Status::failed_precondition(format!(
            "member {:x} belongs to cluster {:x}, this one to cluster {cluster_id:x}",
            route.from, route.cluster_id
        )));
    }
    if route.to != member_id {
        return Err(Status::failed_precondition(format!(
            "member {:x} was looking for member {:x}; this is member {member_id:x}",
            route.from, route.to
        )));
    }
    Ok(route.from)
}
