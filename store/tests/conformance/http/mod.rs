//! What is served to plain HTTP on the client port.

mod gateway;
mod metrics;
mod plain;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        plain::group(),
        plain::unwell(),
        gateway::group(),
        gateway::auth(),
        metrics::group(),
    ]
}
