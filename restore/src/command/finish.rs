//! Flags about what becomes of a whole cluster once its rows are proved.

use chrono::Utc;
use clap::Args;
use revkeep_schemas::Revision;
use revkeep_vault::Cluster;

use super::point::Steady;
use crate::bump::{Bump, LastSeen, Wish};
use crate::error::{Kind, RestoreError};
use crate::leases::LeaseRule;
use crate::prepare::Prepared;

/// What etcdutl calls by the same names, and leases.
#[derive(Debug, Args)]
#[command(next_help_heading = "What becomes of the cluster")]
pub(super) struct FinishArguments {
    /// Raise the revision by so many, so that none is given out twice; auto: beyond all that clients can have seen
    #[arg(long, value_name = "N|auto", value_parser = Wish::parse)]
    bump_revision: Option<Wish>,
    /// Have everything before the raised revision answered as compacted, so that watchers list again
    #[arg(long)]
    mark_compacted: bool,
    /// What becomes of leases; with --into: keep or detach
    #[arg(long, value_enum, default_value_t)]
    pub(super) leases: LeaseRule,
}

impl FinishArguments {
    /// What is asked for, with etcdutl's rule: both flags or none.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for one without the other.
    pub(super) fn wish(&self) -> Result<Option<Wish>, RestoreError> {
        let wish = self.bump_revision.filter(|wish| *wish != Wish::By(0));
        if wish.is_some() == self.mark_compacted {
            return Ok(wish);
        }
        Err(RestoreError::new(
            Kind::Invalid,
            "--bump-revision and --mark-compacted need each other: watchers must not go on where revisions are left out. \
             Try: --bump-revision auto --mark-compacted",
        ))
    }

    /// Whether anything was asked for that only a whole cluster can be given.
    pub(super) fn alters_the_whole(&self) -> bool {
        self.bump_revision.is_some() || self.mark_compacted
    }

    /// Carries out what was asked for on a plan. `members` is how many members are restored one by one.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a bump that cannot be counted, and for `auto` where several members must have the same.
    pub(super) async fn alter(
        &self,
        prepared: &mut Prepared,
        cluster: &Cluster,
        members: usize,
        dry_run: bool,
    ) -> Result<(), RestoreError> {
        prepared.with_leases(self.leases);
        let target = prepared.recipe.target;
        let bump = match self.wish()? {
            None => return Ok(()),
            Some(Wish::By(amount)) => Bump::by(target, amount)?,
            Some(Wish::Auto) => {
                let seen = LastSeen::of(cluster).await?;
                let bump = Bump::auto(target, seen, Utc::now().timestamp_millis())?;
                if members > 1 && !dry_run {
                    return Err(same_for_all(&bump));
                }
                bump
            }
        };
        prepared.bump(bump);
        Ok(())
    }
}

/// Refuses words that each member would understand in its own way; where they may differ a little, gives a note.
///
/// # Errors
/// [`Kind::Invalid`]; the message names the flags that are the same for all.
pub(super) fn same_point(
    steady: Steady,
    timeline: &str,
    revision: Revision,
) -> Result<Option<String>, RestoreError> {
    let same = format!("--timeline {timeline} --to-revision {revision}");
    match steady {
        Steady::Yes => Ok(None),
        Steady::Mostly => Ok(Some(format!(
            "members of one cluster need the very same revision, and a time may come to another one on the next machine. Safer on each \
             of them: {same}"
        ))),
        Steady::No => Err(RestoreError::new(
            Kind::Invalid,
            format!(
                "each member is restored on its own, and what was asked for may come to another revision for the next: members that \
                 differ are no cluster. Try: {same} on each of them"
            ),
        )),
    }
}

fn same_for_all(bump: &Bump) -> RestoreError {
    RestoreError::new(
        Kind::Invalid,
        format!(
            "--bump-revision auto is for one member: it may come to another amount for the next, and members that differ are no \
             cluster. Try: --to-revision {} --bump-revision {} --mark-compacted on each of them ({bump})",
            bump.revision.0 - bump.amount,
            bump.amount,
        ),
    )
}
