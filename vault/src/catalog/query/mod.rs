//! Questions that the catalog answers. One file each; every answer is a type that the command line, JSON and gRPC share.
//!
//! All of an answer is of one moment. Revisions are etcd's, times are milliseconds since 1970.

mod coverage;
mod lists;
mod scope;
mod status;
mod times;
mod touching;
mod usage;

pub use coverage::{CoverageAnswer, Hole, PointAnswer, Range};
pub use lists::{
    BaseAnswer, CheckpointAnswer, DamageAnswer, GapAnswer, PinAnswer, RetentionAnswer,
    TimelineAnswer, VerificationAnswer,
};
pub use scope::Scope;
pub use status::{ClusterFacts, Condition, Expectations, Severity, StatusAnswer, StatusPage};
pub use times::{RevisionAnswer, TimeAnswer};
pub use touching::{Cursor, KeyRange, SegmentAnswer, TouchingAnswer};
pub use usage::{ClusterUsage, UsageAnswer, UsageLine};
