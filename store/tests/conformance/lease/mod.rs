//! Leases.

mod expiry;
mod grant;
mod keep_alive;
mod keys;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        grant::group(),
        grant::alone(),
        keys::group(),
        keep_alive::group(),
        expiry::group(),
    ]
}
