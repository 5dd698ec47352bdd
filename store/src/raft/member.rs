//! A member as consensus knows it.

use revkeep_schemas::store_api;

/// A member as consensus knows it. Its client URLs come later, by a command of its own.
pub type PeerMember = store_api::PeerMember;

/// What consensus keeps of a member besides its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNode {
    /// The name it was first configured with; empty for one added later, until it tells it.
    pub name: String,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// It wants no vote until it is promoted.
    ///
    /// A voting member that has just been added has no vote either, inside, until it has caught up: so adding a
    /// member never costs the cluster its majority.
    pub learner: bool,
}

impl PeerNode {
    pub(crate) fn of(member: &PeerMember) -> (u64, Self) {
        let node = Self {
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            learner: member.learner,
        };
        (member.id, node)
    }

    pub(crate) fn member(&self, id: u64) -> PeerMember {
        PeerMember {
            id,
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            learner: self.learner,
        }
    }
}
