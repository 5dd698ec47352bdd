//! Reading, writing and deleting keys.

mod delete;
mod filters;
mod limits;
mod put;
mod range;
mod refusals;
mod revisions;
mod sorting;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        range::group(),
        limits::group(),
        filters::group(),
        sorting::group(),
        revisions::group(),
        put::group(),
        delete::group(),
        refusals::group(),
    ]
}
