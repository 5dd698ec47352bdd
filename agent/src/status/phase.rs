//! What capture is doing.

/// The state of the capture task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is known of the source yet.
    #[default]
    Starting,
    /// The source answers; the vault is being opened.
    Opening,
    /// The source sends a snapshot, and capture goes on after it.
    Snapshotting,
    /// Every change arrives as it happens.
    Watching,
    /// What waits to be sealed has no more room: capture relies on the source's history until it has.
    Paused,
    /// The source does not answer, or ended the watch: it is tried again.
    Disconnected,
    /// What is held goes to the vault, and then the process ends.
    Stopping,
}

impl Phase {
    /// A constant word, for logs and scripts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Opening => "opening",
            Self::Snapshotting => "snapshotting",
            Self::Watching => "watching",
            Self::Paused => "paused",
            Self::Disconnected => "disconnected",
            Self::Stopping => "stopping",
        }
    }

    /// Whether the source is read, or could be: what readiness tells. Says nothing of the vault, so that its outage takes
    /// no pod out of service that etcd shares.
    #[must_use]
    pub const fn reads_source(self) -> bool {
        match self {
            Self::Opening | Self::Snapshotting | Self::Watching | Self::Paused => true,
            Self::Starting | Self::Disconnected | Self::Stopping => false,
        }
    }
}
