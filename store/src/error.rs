//! The one error type of this crate.

use std::error::Error;
use std::sync::Arc;

use tonic::{Code, Status};

/// Where an error came from; shared, because one failure can end many requests.
pub type Source = Arc<dyn Error + Send + Sync>;

/// Every way in which the store refuses or fails.
///
/// Most variants are etcd's own errors: [`code`](Self::code) and the text are those of etcd 3.5
/// (etcd, `api/v3rpc/rpctypes/error.go`), because clients compare them. The variants at the end are
/// the store's own.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    // Keys and transactions.
    /// A request without a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// Ignore-value or ignore-lease for a key that does not exist.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A value together with ignore-value.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A lease together with ignore-lease.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// More operations in one transaction than the member allows.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// Two writes of one transaction meet on a key.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target that does not exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// The revision asked for is compacted.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision asked for does not exist yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// The database has reached its quota.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// The request has more bytes than the member allows.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// Too many requests wait to be applied.
    #[error("etcdserver: too many requests")]
    TooManyRequests,

    // Leases.
    /// No such lease.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The id is taken.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// More than 9,000,000,000 seconds.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// This member does not keep the leases' time; only the leader does.
    #[error("not a primary lessor")]
    NotPrimary,

    // Watches.
    /// The watcher was cancelled.
    #[error("etcdserver: watch canceled")]
    WatchCanceled,

    // Members.
    /// The member's id is taken.
    #[error("etcdserver: member ID already exist")]
    MemberExists,
    /// Another member has one of these peer URLs.
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    /// The change would leave too few started members for a quorum.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    MemberNotEnoughStarted,
    /// Peer URLs that are none.
    #[error("etcdserver: given member URLs are invalid")]
    MemberBadUrls,
    /// No such member, or one that was removed.
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// Only a learner can be promoted.
    #[error("etcdserver: can only promote a learner member")]
    MemberNotLearner,
    /// The learner has not caught up.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// The cluster has its most learners already.
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners,
    /// A peer of another cluster.
    #[error("etcdserver: cluster ID mismatch")]
    ClusterIdMismatch,
    /// A learner does not answer this.
    #[error("etcdserver: rpc not supported for learner")]
    NotSupportedForLearner,
    /// Leadership cannot go to this member.
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,

    // Users, roles and rights.
    /// Authentication needs a user `root`.
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    /// The user `root` lacks the role `root`.
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotExist,
    /// The user exists.
    #[error("etcdserver: user name already exists")]
    UserAlreadyExists,
    /// A user without a name.
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    /// No such user.
    #[error("etcdserver: user name not found")]
    UserNotFound,
    /// The role exists.
    #[error("etcdserver: role name already exists")]
    RoleAlreadyExists,
    /// No such role.
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    /// A role without a name.
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    /// Unknown user or wrong password.
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    /// A grant without a permission.
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    /// The user may not do this.
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    /// The user does not have the role.
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have the permission.
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    /// Authentication is off.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// The token is unknown, expired or forged.
    #[error("etcdserver: invalid auth token")]
    InvalidAuthToken,
    /// The change would lock root out.
    #[error("etcdserver: invalid auth management")]
    InvalidAuthMgmt,
    /// Rights have changed since the request was checked.
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,

    // The cluster's state.
    /// The member knows no leader.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// Only the leader does this.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// Leadership moved while the request waited.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// The member is not ready for this API.
    #[error("etcdserver: not capable")]
    NotCapable,
    /// The member is stopping.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// No answer in time.
    #[error("etcdserver: request timed out")]
    Timeout,
    /// There was no leader in time to propose anything to: etcd passes on what its own context says.
    #[error("context deadline exceeded")]
    NoLeaderInTime,
    /// No answer in time, and there was no leader meanwhile.
    #[error("etcdserver: request timed out, possibly due to previous leader failure")]
    TimeoutDueToLeaderFail,
    /// No answer in time, and the leader is out of reach.
    #[error("etcdserver: request timed out, possibly due to connection lost")]
    TimeoutDueToConnectionLost,
    /// Leadership did not move in time.
    #[error("etcdserver: request timed out, leader transfer took too long")]
    TimeoutLeaderTransfer,
    /// What was read has not been applied here in time.
    #[error("etcdserver: request timed out, waiting for the applied index took too long")]
    TimeoutWaitAppliedIndex,
    /// Too few members are reachable for this change.
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy,
    /// Members disagree on the data.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// No such action.
    #[error("etcdserver: unknown method")]
    UnknownMethod,
    /// The client went away.
    #[error("etcdserver: request canceled")]
    Canceled,
    /// The client's own time ran out.
    #[error("etcdserver: context deadline exceeded")]
    DeadlineExceeded,

    // Downgrades.
    /// The cluster has not agreed on a version yet.
    #[error("etcdserver: cluster version not found during downgrade")]
    ClusterVersionUnavailable,
    /// The target is no version.
    #[error("etcdserver: wrong downgrade target version format")]
    WrongDowngradeVersionFormat,
    /// The target is not the minor version before.
    #[error("etcdserver: invalid downgrade target version")]
    InvalidDowngradeTargetVersion,
    /// One is under way.
    #[error("etcdserver: cluster has a downgrade job in progress")]
    DowngradeInProcess,
    /// None is under way.
    #[error("etcdserver: no inflight downgrade job")]
    NoInflightDowngrade,

    // The store's own.
    /// A wrong setting: which one, and what it must be.
    #[error("{0}")]
    Config(String),
    /// A file or folder that is damaged, foreign or of another member: which one, and what to do.
    #[error("{place}: {message}")]
    Damaged {
        /// The file, folder or bucket.
        place: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The disk failed. The member must stop: what it acknowledges next might not survive.
    #[error("{action}: {source}")]
    Disk {
        /// What was tried, on which file.
        action: String,
        /// The failure.
        source: Source,
    },
    /// A failure that no client can do anything about.
    #[error("{message}")]
    Internal {
        /// What failed.
        message: String,
        /// The failure below it.
        source: Option<Source>,
    },
}

/// What the store's functions return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// A failure of the disk, with what was tried on which file.
    pub fn disk(
        action: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Disk {
            action: action.into(),
            source: Arc::from(source.into()),
        }
    }

    /// A damaged file, folder or bucket.
    pub fn damaged(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Damaged {
            place: place.into(),
            message: message.into(),
        }
    }

    /// A failure that no client can do anything about.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal {
            message: message.into(),
            source: None,
        }
    }

    /// The same with the failure below it.
    pub fn internal_from(
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Internal {
            message: message.into(),
            source: Some(Arc::from(source.into())),
        }
    }

    /// Whether the member must stop: its disk no longer keeps what it promises.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Disk { .. } | Self::Damaged { .. })
    }

    /// The gRPC code that etcd gives.
    pub fn code(&self) -> Code {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOps
            | Self::DuplicateKey
            | Self::InvalidSortOption
            | Self::RequestTooLarge
            | Self::MemberBadUrls
            | Self::UserEmpty
            | Self::RoleEmpty
            | Self::AuthFailed
            | Self::PermissionNotGiven
            | Self::InvalidAuthMgmt
            | Self::AuthOldRevision
            | Self::WrongDowngradeVersionFormat
            | Self::InvalidDowngradeTargetVersion => Code::InvalidArgument,

            Self::Compacted | Self::FutureRevision | Self::LeaseTtlTooLarge => Code::OutOfRange,
            Self::NoSpace => Code::ResourceExhausted,
            Self::LeaseNotFound | Self::MemberNotFound => Code::NotFound,
            Self::WatchCanceled | Self::Canceled => Code::Cancelled,
            Self::DeadlineExceeded | Self::NoLeaderInTime => Code::DeadlineExceeded,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::InvalidAuthToken => Code::Unauthenticated,
            Self::Corrupt => Code::DataLoss,

            Self::LeaseExists
            | Self::MemberExists
            | Self::PeerUrlExists
            | Self::MemberNotLearner
            | Self::LearnerNotReady
            | Self::TooManyLearners
            | Self::ClusterIdMismatch
            | Self::BadLeaderTransferee
            | Self::RootUserNotExist
            | Self::RootRoleNotExist
            | Self::UserAlreadyExists
            | Self::UserNotFound
            | Self::RoleAlreadyExists
            | Self::RoleNotFound
            | Self::RoleNotGranted
            | Self::PermissionNotGranted
            | Self::AuthNotEnabled
            | Self::NotLeader
            | Self::DowngradeInProcess
            | Self::NoInflightDowngrade => Code::FailedPrecondition,

            Self::NotSupportedForLearner
            | Self::NoLeader
            | Self::LeaderChanged
            | Self::NotCapable
            | Self::Stopped
            | Self::Timeout
            | Self::TimeoutDueToLeaderFail
            | Self::TimeoutDueToConnectionLost
            | Self::TimeoutWaitAppliedIndex
            | Self::Unhealthy
            | Self::ClusterVersionUnavailable => Code::Unavailable,

            // What etcd's table does not list reaches clients as Unknown with its text. For the last two the table names
            // the client's side of the error, which is no gRPC status, with the same effect (etcd, `v3rpc/util.go`).
            Self::NotPrimary
            | Self::TooManyRequests
            | Self::MemberNotEnoughStarted
            | Self::TimeoutLeaderTransfer
            | Self::UnknownMethod
            | Self::Config(_)
            | Self::Damaged { .. }
            | Self::Disk { .. }
            | Self::Internal { .. } => Code::Unknown,
        }
    }

    /// The text that clients see; etcd's own where the error is etcd's.
    pub fn message(&self) -> String {
        self.to_string()
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_etcds_code_and_text() {
        let status = Status::from(StoreError::Compacted);
        assert_eq!(status.code(), Code::OutOfRange);
        assert_eq!(
            status.message(),
            "etcdserver: mvcc: required revision has been compacted"
        );
    }

    #[test]
    fn only_the_disk_is_fatal() {
        assert!(StoreError::disk("fsync log", std::io::Error::other("gone")).is_fatal());
        assert!(!StoreError::Timeout.is_fatal());
    }
}
