//! The one object that targets and seeds speak of.

use revkeep_schemas::{
    Revision,
    envelope::{Identity, Kind},
    names::{ClusterName, TimelineId, VaultId},
};

/// An object of timeline 1 of the cluster `prod`, revisions 2 to 9, of a kind and name.
pub fn identity(kind: Kind, name: &str) -> Identity {
    Identity {
        kind,
        vault: VaultId([7; 16]),
        cluster: Some(ClusterName::new("prod").unwrap()),
        timeline: Some(TimelineId(1)),
        first: Revision(2),
        last: Revision(9),
        level: 0,
        name: name.to_owned(),
    }
}
