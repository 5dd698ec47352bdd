//! How the agent is, told to probes, to Prometheus, to operators and to the log.
//!
//! Comes in: what every task tells the [`Monitor`], what the object store has acknowledged (the head's keeper), and a look
//! at the source every few seconds. Goes out: `/livez`, `/readyz`, `/metrics` and the gRPC service `revkeep.agent.v1.Agent`
//! on one port, and one line of the log for each change of state. Promises: what is called durable is acknowledged;
//! readiness says nothing of the object store; liveness fails only where a restart helps. Never: a task that waits for
//! whoever asks; a request to the source or the vault for a scrape.
//! Read next: [`Report`] for what is told, [`StatusHandle`] for what can be asked.

mod certificates;
mod handle;
mod headroom;
mod health;
mod listen;
mod metrics;
mod monitor;
mod observe;
mod phase;
mod report;
mod server;
mod service;
mod start;
mod tally;
mod times;

pub use certificates::{Expiry, Usage};
pub(crate) use handle::Live;
pub use handle::StatusHandle;
pub(crate) use health::words;
pub use health::{HealthLimits, Reason};
pub use listen::{DEFAULT as DEFAULT_ADDRESS, Listen};
pub use monitor::{Complaint, GapCount, LastBase, LastSnapshot, Monitor, Upkept};
pub use phase::Phase;
pub use report::Report;
pub(crate) use service::stored_base;
pub use start::StatusAddress;
pub(crate) use start::start;
pub use tally::{Count, Kind, Tally};
