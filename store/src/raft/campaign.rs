//! Elections, with a trial first.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt as _, stream::FuturesUnordered};
use revkeep_schemas::store_api as api;

use super::{
    core::Core,
    peer::is_removed,
    types::{LogId, Membership, Vote},
    wire,
};

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// A majority would vote for this member.
    Won,
    Lost,
    /// The others say that this member was removed.
    Removed,
}

/// Asks all voters whether they would vote for this member, without beginning a term: who has heard of a leader lately,
/// or has a longer log, would not. So a member that was cut off comes back with the term it left with (Ongaro's thesis,
/// section 9.6, "pre-vote").
pub(super) async fn try_vote<O: Send + 'static>(core: &Arc<Core<O>>) -> Trial {
    let term = core.term() + 1;
    let last = Some(wire::place(core.marks.last_position()));
    let membership = core.membership();
    let me = core.config.member_id;
    let mut granted = BTreeSet::from([me]);
    let mut refused_as_removed = BTreeSet::new();
    if is_majority(&membership, &granted) {
        return Trial::Won;
    }
    let limit = core.config.election / 2;
    let mut asked: FuturesUnordered<_> = membership
        .nodes()
        .filter(|(id, _)| **id != me)
        .map(|(id, node)| {
            let link = core.links.to(*id, node);
            let id = *id;
            let message = api::VoteRequest {
                route: Some(link.route()),
                ballot: Some(wire::ballot(&Vote::new(term, me))),
                last,
                trial: true,
                transfer: false,
            };
            async move {
                let mut client = link.client();
                (id, link.call(limit, client.vote(message)).await)
            }
        })
        .collect();
    while let Some((id, answer)) = asked.next().await {
        match answer {
            Ok(response) if response.granted => {
                granted.insert(id);
            }
            Ok(_) => {}
            Err(status) if is_removed(&status) => {
                refused_as_removed.insert(id);
            }
            Err(status) => tracing::debug!(%status, "no trial vote"),
        }
        if is_majority(&membership, &granted) {
            return Trial::Won;
        }
    }
    if refused_as_removed.is_empty() {
        Trial::Lost
    } else {
        Trial::Removed
    }
}

/// Whether these members decide, in both halves of a change that is under way.
fn is_majority(membership: &Membership, granted: &BTreeSet<u64>) -> bool {
    let configs = membership.get_joint_config();
    !configs.is_empty()
        && configs
            .iter()
            .all(|voters| voters.intersection(granted).count() > voters.len() / 2)
}

/// Stands for election; or, for a leader that had lost the majority and has it again, speaks up again.
pub(super) async fn stand<O: Send + 'static>(core: &Arc<Core<O>>, leads: bool) {
    if leads {
        tracing::info!("this leader has the majority again");
        core.links.set_silenced(false);
        return;
    }
    // Only a stopped library refuses.
    let _ = core.raft.trigger().elect().await;
}

/// Makes this member give up its promise to the present leader, because that leader wants `candidate` in its place: an
/// append of the candidate's that fits no log takes up the candidate's ballot and nothing else.
pub(super) async fn release<O: Send + 'static>(core: &Arc<Core<O>>, candidate: &Vote) {
    let nowhere = LogId::new(
        openraft::CommittedLeaderId::new(candidate.leader_id.term, 0),
        u64::MAX / 2,
    );
    let request = openraft::raft::AppendEntriesRequest {
        vote: Vote {
            committed: false,
            ..*candidate
        },
        prev_log_id: Some(nowhere),
        entries: Vec::new(),
        leader_commit: None,
    };
    core.contact.forget();
    // An older ballot is refused, and a stopped library answers nothing: the vote will say so.
    let _ = core.raft.append_entries(request).await;
}
