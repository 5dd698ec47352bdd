//! Whether this agent is the one that may.

use std::fmt;
use std::sync::Arc;

/// Asked before anything is done to the source. Where several agents look after one cluster, only one of them may: the
/// default is always yes, and whoever elects an agent gives its own answer.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permit {
    /// Asks this.
    #[must_use]
    pub fn new(may_maintain: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_maintain))
    }

    /// Whether it may, now.
    #[must_use]
    pub fn may_maintain(&self) -> bool {
        (self.0)()
    }
}

impl Default for Permit {
    fn default() -> Self {
        Self::new(|| true)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.may_maintain()).finish()
    }
}
