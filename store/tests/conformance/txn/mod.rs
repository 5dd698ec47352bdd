//! Transactions.

mod answers;
mod compares;
mod duplicates;
mod limits;
mod nesting;
mod ranges;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        compares::group(),
        ranges::group(),
        answers::group(),
        nesting::group(),
        duplicates::group(),
        limits::group(),
        limits::few(),
    ]
}
