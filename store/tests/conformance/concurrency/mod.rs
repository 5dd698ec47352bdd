//! Elections and locks.

mod election;
mod lock;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![election::group(), lock::group()]
}
