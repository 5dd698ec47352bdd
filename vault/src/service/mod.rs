//! The service that looks after a vault: what is due by a schedule, and answers about the catalog.
//!
//! Comes in: a vault, a catalog, a policy, schedules. Goes out: a catalog that is up to date, deletions that the policy
//! asks for, gRPC, metrics. Promises: of several services each piece of work is done by one; what is cut off is done by the
//! next; an end in order finishes nothing by halves. Never: a deletion that `revkeep-vault retention apply` would not make.
//! Read next: [`Job`] for what there is to do, [`serve`] for how it is done.

mod answers;
mod claims;
mod guard;
mod http;
mod job;
mod metrics;
mod options;
mod proofs;
mod ready;
mod run;
mod serve;
mod state;

pub use claims::Claims;
pub use job::Job;
pub use options::{JobSchedule, ProofOptions, ServeOptions};
pub use serve::{Control, serve};
