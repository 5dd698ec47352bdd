//! Who is in the cluster, and what three members do together.

mod alone;
mod changes;
mod three;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        alone::group(),
        changes::group(),
        three::group(),
        three::broken(),
    ]
}
