//! The stream of changes.

mod cancel;
mod compacted;
mod events;
mod fragments;
mod past;
mod progress;
mod streams;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        events::group(),
        past::group(),
        streams::group(),
        cancel::group(),
        compacted::group(),
        progress::group(),
        progress::periodic(),
        fragments::group(),
    ]
}
