//! Users, roles, and who may do what.

mod certificates;
mod enable;
mod everywhere;
mod jwt;
mod matrix;
mod roles;
mod setup;
mod three;
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
        tokens::default(),
        matrix::group(),
        everywhere::group(),
        three::group(),
        jwt::group(),
        jwt::short(),
        jwt::pair(),
        jwt::checking(),
        certificates::group(),
    ]
}
