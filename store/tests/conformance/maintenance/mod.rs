//! The care of one member.

mod alarms;
mod hashes;
mod snapshot;
mod status;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        status::group(),
        hashes::group(),
        alarms::group(),
        alarms::quota(),
        alarms::quota_of_three(),
        snapshot::group(),
    ]
}
