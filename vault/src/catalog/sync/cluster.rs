//! Looks at one cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use revkeep_schemas::manifest::Head;
use revkeep_schemas::names::PinName;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_64;

use super::super::open::Catalog;
use super::apply::apply;
use super::found::{Change, Content, Place};
use super::known::{KnownCluster, KnownNames};
use super::listing::{Meta, Names};
use super::read::Reader;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::layout;

/// How often a look is begun again because somebody else has changed the cluster's rows meanwhile.
const TRIES: usize = 6;

/// How a cluster is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// All names are listed when they were listed longer ago than this.
    pub(super) relist: Duration,
    /// Nothing that is known counts: all of it is read again.
    pub(super) anew: bool,
    /// The time now, by the clock of whoever fills the catalog.
    pub(super) now: DateTime<Utc>,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether all names were listed.
    pub(super) listed: bool,
    /// Whether anything but the head's times has changed.
    pub(super) changed: bool,
    /// Objects that were read.
    pub(super) read: u64,
    /// Objects that have left.
    pub(super) gone: u64,
    /// Objects of those that were read that cannot be used.
    pub(super) damaged: u64,
}

/// Looks at a cluster and writes what has changed.
pub(super) async fn look(
    catalog: &Catalog,
    cluster: &Cluster,
    known: Option<KnownCluster>,
    look: Look,
    permits: &Semaphore,
) -> Result<Seen, VaultError> {
    let mut known = known;
    for _ in 0..TRIES {
        let reader = Reader { cluster, permits };
        let change = Looking {
            catalog,
            reader,
            known: known.as_ref(),
            look,
        }
        .change()
        .await?;
        let seen = Seen {
            listed: change.listed,
            changed: change.is_more_than_head(),
            read: change.found.len() as u64,
            gone: change.gone.len() as u64,
            damaged: damaged(&change),
        };
        if apply(catalog, cluster, known.as_ref(), look, change).await? {
            return Ok(seen);
        }
        // Another program was faster: what it wrote is known now.
        let mut reading = catalog.reading().await?;
        known = KnownCluster::of(&mut reading, &cluster.name).await?;
    }
    Err(VaultError::new(
        ErrorKind::Retry,
        format!(
            "catalog: {}: other programs keep changing it; try again",
            cluster.name
        ),
    ))
}

fn damaged(change: &Change) -> u64 {
    let found = change.found.iter();
    found
        .filter(|found| matches!(found.content, Content::Damaged(_)))
        .count() as u64
}

struct Looking<'a> {
    catalog: &'a Catalog,
    reader: Reader<'a>,
    known: Option<&'a KnownCluster>,
    look: Look,
}

impl Looking<'_> {
    async fn change(&self) -> Result<Change, VaultError> {
        let cluster = self.reader.cluster;
        let permit = self.reader.permits.acquire().await;
        let head = match cluster.head().await {
            Ok(head) => Ok(head),
            Err(error) if error.is_damage() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        drop(permit);
        if let (Some(known), Ok(Some(head))) = (self.known, &head)
            && !self.look.anew
            && !self.is_due(known)
            && let Some(before) = &known.head
            && before.timeline == head.timeline
        {
            let mut change = Change::default();
            if moved(before, head) {
                change = self.newest(known, before, head).await?;
            }
            change.head = Some(head.clone());
            return Ok(change);
        }
        let mut change = self.all().await?;
        match head {
            Ok(head) => change.head = head,
            Err(why) => {
                let meta = change.head_damaged.take().map(|(_, meta)| meta);
                let meta = meta.unwrap_or(Meta {
                    bytes: 0,
                    stored_ms: 0,
                });
                change.head_damaged = Some((why, meta));
                return Ok(change);
            }
        }
        change.head_damaged = None;
        Ok(change)
    }

    /// Whether all names are to be listed again: earlier for some clusters than for others, so that not all are due at
    /// once.
    fn is_due(&self, known: &KnownCluster) -> bool {
        let Some(listed) = known.listed_ms else {
            return true;
        };
        let relist = i64::try_from(self.look.relist.as_millis()).unwrap_or(i64::MAX);
        let early = xxh3_64(self.reader.cluster.name.as_str().as_bytes()) % 256;
        let early = relist / 1024 * i64::try_from(early).unwrap_or_default();
        let since = self.look.now.timestamp_millis().saturating_sub(listed);
        // A clock that was set back says nothing of when that was.
        since < 0 || since >= relist - early
    }

    /// Lists what sorts after the names at which the head before said that the vault ends. What was stored beyond it then may
    /// have had holes, so the newest known names are no place to go on from.
    async fn newest(
        &self,
        known: &KnownCluster,
        before: &Head,
        head: &Head,
    ) -> Result<Change, VaultError> {
        let cluster = self.reader.cluster;
        let timeline = head.timeline;
        let mut reading = self.catalog.reading().await?;
        let (known, base, first) =
            KnownNames::newest(&mut reading, &cluster.name, known.id, before).await?;
        drop(reading);
        let permit = self.reader.permits.acquire().await;
        let folder = layout::timeline_folder(&cluster.name, timeline);
        let mut names = Names::default();
        let after = first.map(|first| format!("{folder}/segments/0/{:020}", first.0));
        names
            .add_after(cluster, timeline, "segments/0", after.as_deref())
            .await?;
        if head.base_revision != before.base_revision {
            let after = base.map(|base| format!("{folder}/bases/{:020}", base.0));
            names
                .add_after(cluster, timeline, "bases", after.as_deref())
                .await?;
            // What could not be captured is recorded before the base that goes on.
            names.add_after(cluster, timeline, "gaps", None).await?;
        }
        drop(permit);
        // What is known by the same name was put in its place, or damaged, since.
        let before = |place: &Place| known.objects.get(place).copied();
        let changed = names.objects.iter();
        let changed =
            changed.filter(|(place, meta)| before(place).is_some_and(|was| was != **meta));
        let gone = changed.filter_map(|(place, _)| Some((*place, before(place)?)));
        let gone: Vec<_> = gone.collect();
        let objects = names.objects.into_iter();
        let new = objects.filter(|(place, meta)| known.objects.get(place) != Some(meta));
        Ok(Change {
            found: self.reader.objects(new.collect()).await?,
            gone,
            ..Change::default()
        })
    }

    /// Lists everything, and reads what is not known.
    async fn all(&self) -> Result<Change, VaultError> {
        let cluster = self.reader.cluster;
        let mut known = KnownNames::default();
        if let Some(row) = self.known.filter(|_| !self.look.anew) {
            let mut reading = self.catalog.reading().await?;
            known = KnownNames::read(&mut reading, &cluster.name, row.id).await?;
        }
        let permit = self.reader.permits.acquire().await;
        let names = Names::all(cluster).await?;
        drop(permit);
        let mut change = Change {
            listed: true,
            chunks: Some(names.chunks),
            head_damaged: names.head.map(|meta| (String::new(), meta)),
            ..Change::default()
        };
        let gone = known.objects.iter();
        let gone = gone.filter(|(place, meta)| names.objects.get(place) != Some(meta));
        change.gone = gone.map(|(place, meta)| (*place, *meta)).collect();
        let new: Vec<_> = names
            .objects
            .into_iter()
            .filter(|(place, meta)| known.objects.get(place) != Some(meta))
            .collect();
        change.found = self.reader.objects(new).await?;
        self.again(&known, &mut change).await?;
        self.pins(&known, names.pins, &mut change).await?;
        let gone = known.receipts.iter();
        let gone = gone.filter(|(name, meta)| names.receipts.get(*name) != Some(meta));
        change.receipts_gone = gone.map(|(name, _)| name.clone()).collect();
        let new = names.receipts.into_iter();
        let new = new.filter(|(name, meta)| known.receipts.get(name) != Some(meta));
        change.receipts = self.reader.receipts(new.collect()).await?;
        for (number, stored) in names.rounds {
            // Without a mark there is no round, whatever else stands there.
            if stored.first().copied().flatten().is_none()
                || known.rounds.get(&number) == Some(&stored)
            {
                continue;
            }
            match self.reader.round(number, stored).await? {
                Ok(round) => change.rounds.push(round),
                Err(damaged) => change.rounds_damaged.push(damaged),
            }
        }
        Ok(change)
    }

    /// Reads again what was damaged: it may have been so on its way alone, or for want of a newer program.
    async fn again(&self, known: &KnownNames, change: &mut Change) -> Result<(), VaultError> {
        let gone: BTreeSet<Place> = change.gone.iter().map(|(place, _)| *place).collect();
        let damaged = known.damaged.iter().filter(|place| !gone.contains(place));
        let damaged = damaged.filter_map(|place| Some((*place, *known.objects.get(place)?)));
        let damaged: Vec<_> = damaged.collect();
        change.gone.extend(damaged.iter().copied());
        change.found.extend(self.reader.objects(damaged).await?);
        Ok(())
    }

    async fn pins(
        &self,
        known: &KnownNames,
        there: std::collections::BTreeMap<PinName, Meta>,
        change: &mut Change,
    ) -> Result<(), VaultError> {
        let same = |name: &PinName, meta: &Meta| known.pins.get(name.as_str()) == Some(meta);
        let gone = known.pins.iter().chain(&known.damaged_pins);
        let gone = gone.filter(|(name, meta)| {
            known.damaged_pins.contains_key(*name)
                || !there
                    .iter()
                    .any(|(one, now)| one.as_str() == *name && now == *meta)
        });
        change.pins_gone = gone.map(|(name, meta)| (name.clone(), *meta)).collect();
        let new: Vec<_> = there
            .into_iter()
            .filter(|(name, meta)| !same(name, meta))
            .collect();
        change.pins = self.reader.pins(new).await?;
        Ok(())
    }
}

/// Whether a head says that the vault has more than it said before.
fn moved(before: &Head, now: &Head) -> bool {
    before.base_revision != now.base_revision || before.durable_revision != now.durable_revision
}
