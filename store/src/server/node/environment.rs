//! What a member needs of the world.

use std::sync::Arc;
use std::time::SystemTime;

use crate::backend::Disk;
use crate::executor::Executor;
use crate::raft::Dial;
use crate::server::Listen;

/// What a member needs of the world. The default is the real one.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// How peers are reached; `None` for TCP, with TLS where the settings name certificates.
    pub dial: Option<Arc<dyn Dial>>,
    /// Where the state and the log are; `None` for the data directory.
    pub disk: Option<Arc<dyn Disk>>,
    /// Where clients and peers come in; `None` for TCP.
    pub listen: Option<Arc<dyn Listen>>,
    /// Where blocking work runs.
    pub executor: Executor,
    /// Decides what is left to chance, the waits of elections for one; `None` for chance. Another one for every member and
    /// start.
    pub seed: Option<u64>,
    /// The time of day, of which the ids of new members are made; `None` for the machine's.
    pub clock: Option<fn() -> SystemTime>,
}
