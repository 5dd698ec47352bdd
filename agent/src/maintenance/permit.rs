//! Whether this agent is the one that may.

use std::fmt;
use std::sync::Arc;

use super::{Scope, Upkeep};
use crate::config::Dial;

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

    /// The same, and for a whole cluster only while this agent is the one that uploads: every other one has the same schedule,
    /// and would begin with the same member. Beside its own member each is the only one.
    #[must_use]
    pub(crate) fn in_turn(
        self,
        upkeep: Dial<Upkeep>,
        uploads: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(move || {
            let own = upkeep.get().scope == Scope::Member;
            self.may_maintain() && (own || uploads())
        })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn only_the_agent_whose_turn_it_is_looks_after_a_whole_cluster() {
        let scope = |scope| Upkeep {
            scope,
            ..Upkeep::default()
        };
        let upkeep = Dial::from(scope(Scope::Cluster));
        let uploads = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&uploads);
        let permit =
            Permit::default().in_turn(upkeep.clone(), move || asked.load(Ordering::Relaxed));
        assert!(!permit.may_maintain());
        uploads.store(true, Ordering::Relaxed);
        assert!(permit.may_maintain());
        uploads.store(false, Ordering::Relaxed);
        upkeep.set(scope(Scope::Member));
        assert!(permit.may_maintain());
        let never = Permit::new(|| false).in_turn(upkeep, || true);
        assert!(!never.may_maintain());
    }
}
