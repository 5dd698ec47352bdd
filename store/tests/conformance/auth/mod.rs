//! Users, roles, and who may do what.

mod enable;
mod matrix;
mod roles;
mod setup;
mod tokens;
mod users;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        users::group(),
        roles::group(),
        enable::group(),
        tokens::group(),
        tokens::short(),
        matrix::group(),
    ]
}
