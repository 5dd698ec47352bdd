//! What a member needs of the world.

use std::sync::Arc;

use crate::backend::Disk;
use crate::executor::Executor;
use crate::raft::Dial;

/// What a member needs of the world. The default is the real one.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// How peers are reached; `None` for TCP, with TLS where the settings name certificates.
    pub dial: Option<Arc<dyn Dial>>,
    /// Where the state and the log are; `None` for the data directory.
    pub disk: Option<Arc<dyn Disk>>,
    /// Where blocking work runs.
    pub executor: Executor,
}
