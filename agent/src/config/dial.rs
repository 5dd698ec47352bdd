//! A setting that can change while the agent runs.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// A value that whoever uses it reads anew each time. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Dial<T>(Arc<watch::Sender<T>>);

impl<T: Clone + PartialEq> Dial<T> {
    /// Starts at a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(watch::Sender::new(value)))
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.borrow().clone()
    }

    /// Changes it; says whether that is another value.
    pub fn set(&self, value: T) -> bool {
        self.0.send_if_modified(|now| {
            let changed = *now != value;
            *now = value;
            changed
        })
    }

    /// Told of every change from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<T> {
        self.0.subscribe()
    }
}

impl<T: Clone + PartialEq> From<T> for Dial<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Clone + PartialEq + Default> Default for Dial<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Clone + PartialEq + fmt::Debug> fmt::Debug for Dial<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
