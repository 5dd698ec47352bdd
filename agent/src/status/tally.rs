//! What went to the object store, and how often it failed.

/// A kind of object in the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows of a range of revisions.
    Segment,
    /// A base: its chunks and its manifest.
    Base,
    /// The record of lost revisions.
    Gap,
    /// The hint where the newest base and segment are.
    Head,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Segment, Self::Base, Self::Gap, Self::Head];

    /// A constant word, for metrics and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Base => "base",
            Self::Gap => "gap",
            Self::Head => "head",
        }
    }
}

/// How often one kind of object went up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Acknowledged by the object store.
    pub stored: u64,
    /// Failed, to be tried again.
    pub failed: u64,
}

/// The counts of every kind.
#[derive(Clone, Debug, Default)]
pub struct Tally([Count; Kind::ALL.len()]);

impl Tally {
    /// One kind's count.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Count {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    pub(super) fn change(&mut self, kind: Kind, change: impl FnOnce(&mut Count)) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            change(count);
        }
    }
}
