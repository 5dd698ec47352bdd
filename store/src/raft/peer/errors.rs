//! Errors across the link.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::StoreError;

/// What a member that was removed is told.
const REMOVED: &str = "the member was removed from the cluster";

pub(super) fn removed() -> Status {
    Status::permission_denied(REMOVED)
}

/// Whether the other member says that this one was removed.
pub(in crate::raft) fn is_removed(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && status.message() == REMOVED
}

/// Whether the call has never left this member, because there was no connection.
pub(in crate::raft) fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The errors that a leader may answer a member's request with.
const KNOWN: &[StoreError] = &[
    StoreError::MemberExists,
    StoreError::PeerUrlExists,
    StoreError::MemberNotEnoughStarted,
    StoreError::MemberBadUrls,
    StoreError::MemberNotFound,
    StoreError::MemberNotLearner,
    StoreError::LearnerNotReady,
    StoreError::TooManyLearners,
    StoreError::Unhealthy,
    StoreError::LeaseNotFound,
    StoreError::NotPrimary,
    StoreError::NotLeader,
    StoreError::NoLeader,
    StoreError::LeaderChanged,
    StoreError::Timeout,
    StoreError::TimeoutWaitAppliedIndex,
    StoreError::Stopped,
    StoreError::TooManyRequests,
    StoreError::BadLeaderTransferee,
    StoreError::TimeoutLeaderTransfer,
];

/// The error that the other member meant, by its text.
pub(in crate::raft) fn store_error(status: &Status) -> StoreError {
    let meant = KNOWN
        .iter()
        .find(|known| known.code() == status.code() && known.message() == status.message());
    meant.cloned().unwrap_or_else(|| {
        StoreError::internal_from("a call to another member failed", status.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_same_on_both_sides() {
        for error in KNOWN {
            let back = store_error(&Status::from(error.clone()));
            assert_eq!(back.message(), error.message());
            assert_eq!(back.code(), error.code());
        }
        assert!(is_removed(&removed()));
        assert!(!is_removed(&Status::permission_denied("something else")));
    }
}
