//! Carries plans out, a step at a time. Every step may be interrupted and made again, by any number of programs.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use futures::{StreamExt, stream};
use revkeep_schemas::manifest::{ObjectList, RoundVerdict};

use super::history::StoredBase;
use super::plan::{Plan, plan};
use super::rounds::{Listed, Part, Rounds};
use super::rules::{Rules, YOUNG};
use super::survey::Survey;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::Damage;
use crate::layout::{self, ChunkName, NameKind, ObjectName};
use crate::objects::Created;
use crate::probe::probe;
use crate::timeline::Timeline;
use crate::writing;

/// A base that was begun longer ago than this, by the store's clock, is given up when deletions wait for it. Its agent
/// then takes it again, so this is a courtesy and nothing depends on it.
pub const PATIENCE: TimeDelta = TimeDelta::hours(6);
/// Deletions that are asked for at once.
const PARALLEL_DELETES: usize = 16;

/// What a call of [`Cluster::apply_retention`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything stays.
    NothingToDelete,
    /// What goes was marked. It is deleted by the first call after this time, by the store's clock.
    Marked {
        /// The round, by which it can be taken back.
        round: u32,
        /// When its grace ends.
        until: DateTime<Utc>,
        /// What was marked.
        objects: ObjectList,
    },
    /// The grace of what was marked before has not ended.
    InGrace {
        /// The round.
        round: u32,
        /// When its grace ends.
        until: DateTime<Utc>,
    },
    /// Bases are being written that may make use of what was marked.
    WaitsFor {
        /// The round.
        round: u32,
        /// Their manifests.
        bases: Vec<String>,
    },
    /// The round is over.
    Swept {
        /// The round.
        round: u32,
        /// What it was to delete.
        objects: ObjectList,
        /// How many of these are deleted: not what is left, nor the chunks of a base that is.
        deleted: usize,
        /// What the store did not delete, locked objects for one. A later round tries again.
        left: Vec<Damage>,
    },
}

impl Cluster {
    /// Goes on with deletions as far as can be now: marks what the rules let go, or, when the grace of what was marked
    /// has ended, deletes what of it the rules still let go and nothing needs.
    ///
    /// # Errors
    /// `Refused` while a base cannot be read, for what it needs is not known, or lists a chunk that is gone, for then an older
    /// path may be the only one; as the store fails.
    pub async fn apply_retention<Z: TimeZone>(
        &self,
        rules: &Rules,
        zone: &Z,
    ) -> Result<Progress, VaultError> {
        self.must_create_if_absent().await?;
        let listed = Rounds(self).list().await?;
        let last = listed.last().cloned().unwrap_or_default();
        if last.number == 0 || last.stored(Part::Swept).is_some() {
            return self.mark(last.number + 1, rules, zone).await;
        }
        match self.verdict(&last, rules).await? {
            Ok(RoundVerdict::TakenBack) => self.mark(last.number + 1, rules, zone).await,
            Ok(RoundVerdict::Sweep { waits_for }) => {
                self.sweep(last.number, &waits_for, rules, zone).await
            }
            Err(in_grace) => Ok(in_grace),
        }
    }

    /// What is decided once must be decided by one: on a store that lets a second object take the place of the first,
    /// nothing is deleted.
    async fn must_create_if_absent(&self) -> Result<(), VaultError> {
        if probe(&self.vault).await?.create_if_absent {
            return Ok(());
        }
        Err(VaultError::new(
            ErrorKind::Refused,
            "retention: the object store does not honour create-if-absent, so deleting is not safe while agents write; \
             use a store that does",
        ))
    }

    /// Takes back what a round has marked.
    ///
    /// # Errors
    /// `NotFound` if there is no such round, `Refused` when its deletions have begun.
    pub async fn take_back(&self, round: u32) -> Result<(), VaultError> {
        let rounds = Rounds(self);
        if rounds.objects(round, Part::Mark).await?.is_none() {
            return Err(VaultError::new(
                ErrorKind::NotFound,
                format!(
                    "take back round {round} of {}: there is no such round",
                    self.name
                ),
            ));
        }
        let body = RoundVerdict::TakenBack.encode();
        rounds.write(round, Part::Verdict, &body).await?;
        match rounds.verdict(round).await? {
            Some(RoundVerdict::TakenBack) => Ok(()),
            _ => Err(VaultError::new(
                ErrorKind::Refused,
                format!(
                    "take back round {round} of {}: its deletions have begun",
                    self.name
                ),
            )),
        }
    }

    /// Marks what the rules let go.
    async fn mark<Z: TimeZone>(
        &self,
        round: u32,
        rules: &Rules,
        zone: &Z,
    ) -> Result<Progress, VaultError> {
        // Chunks first: what is stored after this is not in the list, and a base that lists what is in it is read, or is
        // announced when the verdict is written.
        let chunks = self.stored_chunks().await?;
        let now = self.vault.objects.now().await?;
        let mut survey = self.survey(now).await?;
        self.name_incomplete(&mut survey, &chunks).await?;
        let plan = plan(&survey.history, rules, zone);
        let mut objects = going(&survey, &plan, |_| true)?;
        let needed = needed(&survey, &objects);
        let old = |stored: DateTime<Utc>| stored < now - YOUNG;
        for (chunk, (stored, bytes)) in chunks {
            if old(stored) && !needed.contains(&chunk) {
                objects.chunks.push((chunk.hash, chunk.round));
                objects.bytes += bytes;
            }
        }
        objects.chunks.sort_unstable();
        if objects.is_empty() {
            return Ok(Progress::NothingToDelete);
        }
        let rounds = Rounds(self);
        match rounds.write(round, Part::Mark, &objects.encode()).await? {
            Created::New => Ok(Progress::Marked {
                round,
                until: now + rules.grace,
                objects,
            }),
            // Another program was faster, or this one was and did not hear of it.
            Created::Exists => Ok(Progress::InGrace {
                round,
                until: now + rules.grace,
            }),
        }
    }

    /// The verdict on a round, written now if its grace has ended.
    async fn verdict(
        &self,
        round: &Listed,
        rules: &Rules,
    ) -> Result<Result<RoundVerdict, Progress>, VaultError> {
        let rounds = Rounds(self);
        if round.stored(Part::Verdict).is_none() {
            let now = self.vault.objects.now().await?;
            let until = round.stored(Part::Mark).unwrap_or(now) + rules.grace;
            if now < until {
                return Ok(Err(Progress::InGrace {
                    round: round.number,
                    until,
                }));
            }
            let waits_for = self.announced().await?.into_keys().collect();
            let body = RoundVerdict::Sweep { waits_for }.encode();
            rounds.write(round.number, Part::Verdict, &body).await?;
        }
        let verdict = rounds.verdict(round.number).await?;
        verdict
            .map(Ok)
            .ok_or_else(|| self.vanished(round.number, "its verdict"))
    }

    fn vanished(&self, round: u32, what: &str) -> VaultError {
        VaultError::new(
            ErrorKind::Retry,
            format!(
                "retention of {}, round {round}: {what} was stored and is not there; try again",
                self.name
            ),
        )
    }

    /// The manifests of all bases that were announced, and the intents and when they were stored.
    async fn announced(&self) -> Result<HashMap<String, (String, DateTime<Utc>)>, VaultError> {
        let folder = writing::intents_folder(self);
        let listed = self.vault.objects.list(&folder).await?.into_iter();
        let read = |meta: object_store::ObjectMeta| {
            let file = meta.location.filename()?;
            let (timeline, revision, uid) = writing::parse_intent(file)?;
            let name = ObjectName {
                cluster: self.name.clone(),
                timeline,
                kind: NameKind::Base { revision, uid },
            };
            Some((
                name.path(),
                (format!("{folder}/{file}"), meta.last_modified),
            ))
        };
        Ok(listed.filter_map(read).collect())
    }

    /// Sees to it that each of these bases is there or void. Returns those that are neither yet.
    async fn settle(&self, waits_for: &[String]) -> Result<Vec<String>, VaultError> {
        let announced = self.announced().await?;
        let now = self.vault.objects.now().await?;
        let mut open = Vec::new();
        for manifest in waits_for {
            if self.vault.objects.find(manifest).await?.is_some() {
                continue;
            }
            // An intent goes only after its base was settled.
            let Some((intent, begun)) = announced.get(manifest) else {
                continue;
            };
            let parsed = intent.rsplit('/').next().and_then(writing::parse_intent);
            let Some((timeline, revision, uid)) = parsed else {
                continue;
            };
            if *begun > now - PATIENCE {
                open.push(manifest.clone());
                continue;
            }
            let timeline = self.timeline(timeline).await?;
            let name = timeline.name(NameKind::Base { revision, uid });
            timeline.give_up_base(&name).await?;
        }
        Ok(open)
    }

    async fn sweep<Z: TimeZone>(
        &self,
        round: u32,
        waits_for: &[String],
        rules: &Rules,
        zone: &Z,
    ) -> Result<Progress, VaultError> {
        let rounds = Rounds(self);
        let mut decided = rounds.objects(round, Part::Sweep).await?;
        if decided.is_none() {
            let open = self.settle(waits_for).await?;
            if !open.is_empty() {
                return Ok(Progress::WaitsFor { round, bases: open });
            }
            let objects = self.decide(round, rules, zone).await?;
            rounds.write(round, Part::Sweep, &objects.encode()).await?;
            // Another program may have been faster: what stands there is deleted, by all.
            decided = rounds.objects(round, Part::Sweep).await?;
        }
        let objects = decided.ok_or_else(|| self.vanished(round, "its list"))?;
        let (deleted, left) = self.delete(&objects).await?;
        rounds.write(round, Part::Swept, &[]).await?;
        // What was announced is settled for good, and is not asked again.
        let announced = self.announced().await?;
        for manifest in waits_for {
            if let Some((intent, _)) = announced.get(manifest) {
                self.remove(intent).await?;
            }
        }
        Ok(Progress::Swept {
            round,
            objects,
            deleted,
            left,
        })
    }

    /// What of a mark the rules still let go, now that every base which may list it is there.
    async fn decide<Z: TimeZone>(
        &self,
        round: u32,
        rules: &Rules,
        zone: &Z,
    ) -> Result<ObjectList, VaultError> {
        let mark = Rounds(self).objects(round, Part::Mark).await?;
        let mark = mark.ok_or_else(|| self.vanished(round, "its mark"))?;
        let mut survey = self.survey(self.vault.objects.now().await?).await?;
        let stored = self.stored_chunks().await?;
        self.name_incomplete(&mut survey, &stored).await?;
        let plan = plan(&survey.history, rules, zone);
        let marked: HashSet<&str> = mark
            .bases
            .iter()
            .chain(&mark.segments)
            .map(String::as_str)
            .collect();
        let mut objects = going(&survey, &plan, |name| marked.contains(name))?;
        let needed = needed(&survey, &objects);
        for (hash, round) in mark.chunks {
            let chunk = ChunkName { hash, round };
            if needed.contains(&chunk) {
                continue;
            }
            objects.chunks.push((hash, round));
            objects.bytes += stored.get(&chunk).map_or(0, |(_, bytes)| *bytes);
        }
        Ok(objects)
    }

    /// Deletes, bases before the chunks that they list. Returns how many went, and what the store refuses to delete.
    async fn delete(&self, objects: &ObjectList) -> Result<(usize, Vec<Damage>), VaultError> {
        let mut left = Vec::new();
        let mut deleted = 0;
        // A base that stays needs its chunks.
        let mut needed = HashSet::new();
        let timelines = self.timelines().await?;
        for base in &objects.bases {
            let listed = self.listed_chunks(&timelines, base).await?;
            if let Some(refused) = self.refused(base).await? {
                left.push(refused);
                needed.extend(listed);
            } else {
                deleted += 1;
            }
        }
        let chunks = objects.chunks.iter().copied();
        let chunks = chunks
            .map(|(hash, round)| ChunkName { hash, round })
            .filter(|chunk| !needed.contains(chunk))
            .map(|chunk| layout::chunk_path(&self.name, chunk));
        let names = objects.segments.iter().cloned().chain(chunks);
        let mut deletions = stream::iter(names)
            .map(async |name| self.refused(&name).await)
            .buffer_unordered(PARALLEL_DELETES);
        while let Some(refused) = deletions.next().await {
            match refused? {
                Some(refused) => left.push(refused),
                None => deleted += 1,
            }
        }
        Ok((deleted, left))
    }

    async fn listed_chunks(
        &self,
        timelines: &[Timeline],
        base: &str,
    ) -> Result<Vec<ChunkName>, VaultError> {
        for timeline in timelines {
            let path = layout::timeline_folder(&self.name, timeline.id);
            let folder = self.vault.objects.path(&path);
            let Some(kind) = layout::parse(&folder, &self.vault.objects.path(base)) else {
                continue;
            };
            return match timeline.base(&timeline.name(kind)).await {
                Ok(manifest) => Ok(manifest.chunks.iter().map(ChunkName::from).collect()),
                // Deleted already, by an earlier attempt.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        Ok(Vec::new())
    }

    /// Deletes one object; what the store says when it refuses. Credentials that it does not accept are no matter of one object.
    async fn refused(&self, name: &str) -> Result<Option<Damage>, VaultError> {
        match self.remove(name).await {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Config && !error.is_unauthenticated() => {
                Ok(Some(Damage {
                    name: name.to_owned(),
                    reason: error.to_string(),
                }))
            }
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), VaultError> {
        match self.vault.objects.remove(name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The bases and segments that a plan lets go, of those that may go.
fn going(
    survey: &Survey,
    plan: &Plan,
    may: impl Fn(&str) -> bool,
) -> Result<ObjectList, VaultError> {
    if let Some(damage) = survey.damaged.first() {
        return Err(VaultError::new(
            ErrorKind::Refused,
            format!(
                "retention: {} cannot be used, so what else is needed in its place is not known and nothing is deleted: restore \
                 what is wrong from a copy, or remove it ({})",
                damage.name, damage.reason
            ),
        ));
    }
    let mut objects = ObjectList::default();
    for timeline in &plan.timelines {
        let goes = |list: &[super::plan::Decision]| {
            let goes = list
                .iter()
                .filter(|decision| !decision.stays() && may(&decision.name));
            goes.map(|decision| (decision.name.clone(), decision.bytes))
                .collect::<Vec<_>>()
        };
        for (to, list) in [
            (&mut objects.bases, &timeline.bases),
            (&mut objects.segments, &timeline.segments),
        ] {
            for (name, bytes) in goes(list) {
                to.push(name);
                objects.bytes += bytes;
            }
        }
    }
    Ok(objects)
}

/// The chunks of all bases that do not go.
fn needed(survey: &Survey, going: &ObjectList) -> HashSet<ChunkName> {
    let going: HashSet<&str> = going.bases.iter().map(String::as_str).collect();
    let bases = survey
        .history
        .timelines
        .iter()
        .flat_map(|timeline| &timeline.bases);
    let stay = bases.filter(|base: &&StoredBase| !going.contains(base.name.as_str()));
    stay.flat_map(|base| base.chunks.iter().map(|(chunk, _)| *chunk))
        .collect()
}
