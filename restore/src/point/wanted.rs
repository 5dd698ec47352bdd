//! What a person asks for.

use revkeep_schemas::Revision;
use revkeep_vault::PinName;

use super::Moment;

/// A point in history, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Exactly this revision.
    Revision(Revision),
    /// The newest revision that can be restored.
    Latest,
    /// The newest revision that an agent had seen at this time.
    Time(Moment),
    /// The revision before the newest deletion of a key, if that is not older than a bound.
    BeforeDelete {
        /// The key.
        key: Vec<u8>,
        /// How far back the deletion may lie.
        since: Option<Box<Wanted>>,
    },
    /// The revision that a pin holds.
    Pin(PinName),
}
