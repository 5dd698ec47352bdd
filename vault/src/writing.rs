//! What a writer of bases and whoever deletes owe each other.
//!
//! A writer first says that it writes a base of a name, by an intent, and looks for marks then: what a mark that it
//! sees may delete it neither lists nor stores again under that name. Whoever deletes writes the mark first and looks
//! for intents then, so one of both sees the other. [`crate::retention`] has the whole argument.

use std::collections::{HashMap, HashSet};

use revkeep_schemas::Revision;
use revkeep_schemas::envelope::{self, Identity, Kind};
use revkeep_schemas::manifest::{BaseManifest, ChunkHash, ChunkRef, RoundVerdict};
use revkeep_schemas::names::{TimelineId, Uid, VaultId};

use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::layout::{ChunkName, NameKind, ObjectName};
use crate::objects::Created;
use crate::retention::{Part, Rounds};
use crate::timeline::Timeline;

/// The marks that a writer has seen.
#[derive(Debug, Default)]
pub(crate) struct SeenMarks {
    /// Whether the rounds were listed.
    listed: bool,
    /// The newest round.
    round: u32,
    /// What they may delete, or have deleted.
    condemned: HashSet<ChunkName>,
    /// The base that was there after they were listed, by its revision and chunks.
    trusted: Option<(Revision, Vec<ChunkName>)>,
}

fn signature(base: &BaseManifest) -> (Revision, Vec<ChunkName>) {
    let chunks = base.chunks.iter().map(ChunkName::from).collect();
    (base.facts.revision, chunks)
}

impl SeenMarks {
    fn see(&mut self, chunks: Vec<(ChunkHash, u32)>) {
        let named = |(hash, round)| ChunkName { hash, round };
        self.condemned.extend(chunks.into_iter().map(named));
    }
}

/// A base that is being written.
#[derive(Debug)]
pub(crate) struct Intent {
    /// The manifest that it will have.
    pub(crate) name: ObjectName,
    /// The round of deletions that new chunks are stored in.
    pub(crate) round: u32,
}

/// The folder of the intents of a cluster.
pub(crate) fn intents_folder(cluster: &Cluster) -> String {
    format!("clusters/{}/writing", cluster.name)
}

/// The name of the intent of a base, in its folder: timeline, revision, suffix.
pub(crate) fn intent_name(timeline: TimelineId, revision: Revision, uid: Uid) -> String {
    format!("{timeline}-{:020}-{uid}", revision.0)
}

/// Reads the name of an intent.
pub(crate) fn parse_intent(name: &str) -> Option<(TimelineId, Revision, Uid)> {
    let mut parts = name.split('-');
    let timeline = parts.next()?.parse().ok()?;
    let revision = Revision(parts.next()?.parse().ok()?);
    let uid = parts.next()?.parse().ok()?;
    let ours = parts.next().is_none() && intent_name(timeline, revision, uid) == name;
    ours.then_some((timeline, revision, uid))
}

/// The identity of the intent of a base.
pub(crate) fn intent_identity(vault: VaultId, base: &ObjectName) -> Identity {
    Identity {
        kind: Kind::Intent,
        ..base.identity(vault)
    }
}

/// What stands in the place of a base that will never be.
pub(crate) fn void(vault: VaultId, base: &ObjectName) -> Identity {
    Identity {
        kind: Kind::Void,
        ..base.identity(vault)
    }
}

impl Timeline {
    /// Says that a base of this revision will be written, and learns what it must not make use of. `known` loses the
    /// chunks of earlier bases that may be deleted.
    pub(crate) async fn begin_base(
        &self,
        revision: Revision,
        previous: Option<&BaseManifest>,
        known: &mut HashMap<ChunkHash, ChunkRef>,
    ) -> Result<Intent, VaultError> {
        let uid = Uid(rand::random());
        let name = self.name(NameKind::Base { revision, uid });
        let cluster = &self.cluster;
        let folder = intents_folder(cluster);
        let path = format!("{folder}/{}", intent_name(self.id, revision, uid));
        let identity = intent_identity(self.cluster.vault.id, &name);
        let object = envelope::seal(&identity, &cluster.vault.writer, &[]);
        cluster.vault.objects.put_unique(&path, object).await?;
        let mut marks = cluster.marks.lock().await;
        let rounds = Rounds(cluster);
        if marks.listed {
            while let Some(mark) = rounds.objects(marks.round + 1, Part::Mark).await? {
                marks.round += 1;
                marks.see(mark.chunks);
            }
        } else {
            let listed = rounds.list().await?;
            let mut open = Vec::new();
            for round in &listed {
                marks.round = marks.round.max(round.number);
                let decided = round.stored(Part::Verdict).is_some();
                let over = round.stored(Part::Swept).is_some()
                    || decided
                        && rounds.verdict(round.number).await? == Some(RoundVerdict::TakenBack);
                if !over {
                    open.push(round.number);
                }
            }
            for mark in rounds.marks(open).await? {
                marks.see(mark.chunks);
            }
            marks.listed = true;
        }
        // Rounds that were over when they were listed were not read. They deleted nothing of a base that was there
        // afterwards; but a base that the caller read before may have gone with them.
        if let Some(previous) = previous
            && marks.round > 0
        {
            let signature = Some(signature(previous));
            if marks.trusted != signature {
                if self.has_base(previous).await? {
                    marks.trusted = signature;
                } else {
                    known.clear();
                }
            }
        }
        known.retain(|_, chunk| !marks.condemned.contains(&ChunkName::from(&*chunk)));
        Ok(Intent {
            name,
            round: marks.round,
        })
    }

    async fn has_base(&self, base: &BaseManifest) -> Result<bool, VaultError> {
        for timeline in self.cluster.timelines().await? {
            for name in timeline.listing().await?.bases {
                let same = matches!(name.kind, NameKind::Base { revision, .. } if revision == base.facts.revision);
                if same && timeline.base(&name).await.is_ok_and(|there| there == *base) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Puts a manifest at the name of its intent, unless whoever deletes has given it up.
    pub(crate) async fn finish_base(
        &self,
        intent: &Intent,
        manifest: &BaseManifest,
    ) -> Result<(), VaultError> {
        let path = intent.name.path();
        let body = manifest.encode();
        // What no reader would take must not be stored.
        BaseManifest::decode(&body).map_err(VaultError::format(path.as_str()))?;
        let vault = &self.cluster.vault;
        let object = envelope::seal(&self.identity(&intent.name), &vault.writer, &body);
        let put = vault.objects.put_unique(&path, object).await;
        let Err(error) = put else {
            self.cluster.marks.lock().await.trusted = Some(signature(manifest));
            return Ok(());
        };
        match vault.objects.find(&path).await {
            Ok(Some(there)) if envelope::open(&there, &void(vault.id, &intent.name)).is_ok() => {
                Err(VaultError::new(
                    ErrorKind::Retry,
                    format!(
                        "put {path}: it took so long that it was given up; take the base again"
                    ),
                ))
            }
            _ => Err(error),
        }
    }

    /// Puts a void in the place of a base that is not there. What is there then is the base or a void, for good.
    pub(crate) async fn give_up_base(&self, name: &ObjectName) -> Result<Created, VaultError> {
        let vault = &self.cluster.vault;
        let object = envelope::seal(&void(vault.id, name), &vault.writer, &[]);
        vault.objects.create(&name.path(), object).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_intent_is_read_as_it_was_written() {
        let name = intent_name(TimelineId(3), Revision(47), Uid(0xfeed));
        assert_eq!(
            parse_intent(&name),
            Some((TimelineId(3), Revision(47), Uid(0xfeed)))
        );
        for name in [
            "",
            "0003",
            "0003-47-000000000000feed",
            "3-00000000000000000047-000000000000feed",
        ] {
            assert_eq!(parse_intent(name), None, "{name}");
        }
    }
}
