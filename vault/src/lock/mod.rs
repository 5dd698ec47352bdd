//! Object lock: until when the object store itself refuses to let go of what is kept.
//!
//! Keys are written once, so an object that a lock holds is never in a writer's way. A policy that names `lock` and
//! `lock-for` gives a retain-until date to every object that something kept needs: the manifests of bases and their
//! chunks, segments, gap records, records of timelines, pins that have not expired, and `FORMAT`. The head, which is
//! overwritten, has none, nor have receipts, claims, and what deletions and writers leave for each other.
//!
//! # What the dates cover
//!
//! At each `apply` a date is made at least now + `lock-for` where less than half of `lock-for` is left of it, or none is
//! there. So what is kept is covered for at least half of `lock-for` after the last `apply` that went well, and for that long
//! nobody removes a version of it: in governance mode nobody without the right to bypass it, which this never asks for,
//! in compliance mode nobody at all. What is let go is not renewed. Not covered is what was stored since the last
//! `apply`: that is what the bucket's own default retention is for. Now is the object store's clock, never this machine's
//! and never a writer's.
//!
//! A date is never made earlier, and a mode never weaker: what is there is asked first, and no request says that it
//! bypasses anything. Where a policy wants compliance of an object that is in governance mode, and the store does not let that
//! be changed without a bypass (S3 does not), it keeps its mode, its date is renewed all the same, and it is counted.
//!
//! # What it costs
//!
//! S3 lists no dates, so each object is asked for its own: one `GET` each, the cheapest request there is, and one `PUT`
//! for each that is due, which is once in half of `lock-for`. A process that goes on, as the service does, remembers what it
//! saw and asks no more until a date is due: then it is one `GET` and one `PUT` for each object in half of `lock-for`. Besides, a run
//! surveys the cluster as a plan does, lists its chunks, gaps and pins, and asks for each timeline's record and `FORMAT`.
//!
//! # When a date cannot be set
//!
//! Then nothing is deleted in that run, and it ends with an error that says so: a policy that asks for locks is one under
//! which nothing should go while the rest stands open. Dates that could be set are set all the same: an object whose date
//! cannot be read or set is named, and keeps no other from being renewed. Only what is wrong with all of them ends a run at
//! once: a bucket without object lock, no such bucket, credentials that are not accepted, a store that does not answer.
//!
//! # When something is damaged
//!
//! While a base, a pin or a record of a timeline cannot be read, or a base lists a chunk that is gone, nobody knows what is needed in its place:
//! what the plan lets go may be the only path that is left, and what cannot be read now may be mended. So everything is
//! kept that is there, what is damaged too, as nothing is deleted then either.
//!
//! # What a lock is on S3
//!
//! A bucket with object lock keeps versions, and a lock holds a version. A delete without a version, which is all that
//! this program sends, puts a marker before it and succeeds: the object is not listed any more and its data stays until
//! a lifecycle rule removes noncurrent versions, which it can only after their dates. So who can delete, and deletes all,
//! has deleted nothing: removing the markers brings it back. Sources: Amazon S3, "Locking objects with Object Lock",
//! `PutObjectRetention`, `GetObjectRetention`.

mod apply;
mod dates;
mod failures;
mod kept;
mod known;
mod retention_request;
mod rule;
mod s3;
mod store;

pub use apply::{LockPlan, Locked};
pub use rule::{Lock, LockMode, Retention};
pub use store::RetentionDates;

pub(crate) use s3::{KeptClient, S3Dates};
pub(crate) use store::Locks;
