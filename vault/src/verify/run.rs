//! One verification of one cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::{StreamExt, stream};
use revkeep_schemas::manifest::{BaseManifest, ChunkRef, GapRecord, PinRecord};
use revkeep_schemas::names::{PinName, TimelineId};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::finding::{Finding, Verification, Wrong};
use super::ledger::Ledger;
use super::place::{Place, Standing};
use super::prove::{Content, Read};
use super::swept::Swept;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::layout::{self, ChunkName, NameKind, ObjectName};

/// Memory is counted in units of so many bytes.
const UNIT_BYTES: u64 = 64 * 1024;

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Names, sizes, and every small object. Segments and chunks have to be there.
    Listed,
    /// Every byte that is due.
    #[default]
    Bytes,
}

/// How a cluster is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// How much is read.
    pub depth: Depth,
    /// Segments and chunks that were proven within this time are not read again.
    pub period: Duration,
    /// At most so many bytes of segments and chunks are read: new ones first, then what was not read for longest.
    pub max_bytes: u64,
    /// What is missing that was there is told this once, and is allowed for from then on.
    pub accept_missing: bool,
    /// Objects that are read at once.
    pub parallel: usize,
    /// Bytes of objects that are held at once. One that is larger is held alone.
    pub memory_bytes: u64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            depth: Depth::Bytes,
            period: Duration::ZERO,
            max_bytes: u64::MAX,
            accept_missing: false,
            parallel: 4,
            memory_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What is known so far.
pub(super) struct Known {
    pub(super) timelines: Vec<TimelineId>,
    /// Everything that was listed.
    pub(super) standing: Vec<Standing>,
    /// Sound bases, by name.
    pub(super) bases: Vec<(ObjectName, Arc<BaseManifest>)>,
    /// The same, by path.
    pub(super) manifests: HashMap<String, Arc<BaseManifest>>,
    pub(super) gaps: Vec<(ObjectName, GapRecord)>,
    pub(super) pins: Vec<(PinName, PinRecord)>,
    /// What rounds of deletions deleted.
    pub(super) swept: Swept,
    /// What the ledger saw and is not there any more.
    pub(super) missing: Vec<Place>,
    /// What was listed and was not there when it was to be read.
    gone: Vec<Standing>,
    /// By object, so that each is named once.
    findings: BTreeMap<String, Finding>,
}

impl Known {
    /// Notes what is wrong with an object, unless that was noted.
    pub(super) fn find(&mut self, object: impl Into<String>, wrong: Wrong, reason: String) {
        let object = object.into();
        self.findings
            .entry(object.clone())
            .or_insert_with(|| Finding {
                object,
                wrong,
                reason,
            });
    }

    pub(super) fn is_unsound(&self, object: &str) -> bool {
        self.findings.contains_key(object)
    }

    fn keep(&mut self, standing: &Standing, content: Content, cluster: &Cluster) {
        match (content, &standing.place) {
            (Content::Base(base), Place::Timeline(name)) => self.bases.push((name.clone(), base)),
            (Content::Gap(gap), Place::Timeline(name)) => self.gaps.push((name.clone(), gap)),
            (Content::Pin(pin), Place::Pin(name)) => self.pins.push((name.clone(), pin)),
            (Content::Sweep(list), Place::Round(number, _)) => {
                self.swept.add(*number, list, cluster);
            }
            _ => {}
        }
    }

    /// What went without notice is missing.
    fn settle_gone(&mut self, cluster: &Cluster, ledger: &Ledger) {
        for object in std::mem::take(&mut self.gone) {
            self.standing.retain(|it| it.name != object.name);
            let outlasted = ledger.has_outlasted(cluster.short(&object.name));
            if !object.place.goes_silently() && !self.swept.took(&object.name, outlasted) {
                let reason = "it was listed, and the store does not give it".to_owned();
                self.find(object.name, Wrong::Missing, reason);
            }
        }
    }

    /// Names what a reading before found wrong and this run did not come to.
    fn find_what_was_damaged(&mut self, cluster: &Cluster, ledger: &Ledger) {
        let standing = self.standing.iter().map(|it| &it.name);
        let damaged = standing.filter(|name| ledger.is_damaged(cluster.short(name)));
        for name in damaged.cloned().collect::<Vec<_>>() {
            let reason = "it was found damaged before, and was not read now".to_owned();
            self.find(name, Wrong::Damaged, reason);
        }
    }
}

impl Cluster {
    /// Verifies the cluster. What was read is noted in the ledger as it goes, so that after an error or an interruption the
    /// next run goes on; saving it is up to the caller. `progress` is told the bytes of every object that was dealt with.
    ///
    /// # Errors
    /// As the store fails: what could not be read because of that is no finding.
    pub async fn verify(
        &self,
        options: &VerifyOptions,
        ledger: &mut Ledger,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Verification, VaultError> {
        // First, so that what they claim has to be there.
        let head = self.head().await;
        let pins = self.standing_pins().await?;
        let (timelines, standing) = self.standing_in_timelines().await?;
        let mut known = Known {
            timelines,
            standing,
            bases: Vec::new(),
            manifests: HashMap::new(),
            gaps: Vec::new(),
            pins: Vec::new(),
            swept: Swept::default(),
            missing: Vec::new(),
            gone: Vec::new(),
            findings: BTreeMap::new(),
        };
        let (data, small): (Vec<_>, Vec<_>) = known
            .standing
            .iter()
            .cloned()
            .partition(|it| is_data(&it.place));
        let mut read = self
            .prove_all(
                &mut known,
                ledger,
                small,
                options,
                progress,
                &HashMap::new(),
            )
            .await?;
        let mut beside = self.standing_beside().await?;
        beside.extend(pins);
        known.standing.extend(beside.iter().cloned());
        let (mut chunks, small): (Vec<_>, Vec<_>) =
            beside.into_iter().partition(|it| is_data(&it.place));
        read += self
            .prove_all(
                &mut known,
                ledger,
                small,
                options,
                progress,
                &HashMap::new(),
            )
            .await?;
        let head = match head {
            Ok(head) => head,
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Config) => {
                let reason = format!("{error}; it is a hint, and the agent writes it anew");
                known.find(layout::head_path(&self.name), Wrong::Damaged, reason);
                None
            }
            Err(error) => return Err(error),
        };

        for object in &known.standing {
            ledger.saw(self.short(&object.name), object.bytes);
        }
        let listed = known.listed_chunks();
        let mut due = data;
        due.append(&mut chunks);
        let left = self.choose_due(&mut due, ledger, options);
        let read_data = self
            .prove_all(&mut known, ledger, due, options, progress, &listed)
            .await?;
        let over = self.learn_sweeps(&mut known).await?;
        known.settle_gone(self, ledger);
        self.keep_outlasting(&mut known, &over, ledger).await?;
        known.find_what_was_damaged(self, ledger);
        self.compare_claims(&mut known, head.as_ref(), ledger, options)
            .await?;
        // Nothing is waited for from here on, so that what was accepted is told.
        let lost = self.lost(&known);
        let missing = known.missing.iter().filter_map(|place| self.name_of(place));
        let accepted = missing.filter(|name| !known.is_unsound(name)).collect();
        let count = |wanted: fn(&Place) -> bool| {
            known.standing.iter().filter(|it| wanted(&it.place)).count() as u64
        };
        let unused = |it: &&Standing| matches!(it.place, Place::Chunk(chunk) if !listed.contains_key(&chunk));
        Ok(Verification {
            cluster: self.name.to_string(),
            depth: options.depth,
            bases: known.bases.len() as u64,
            segments: count(is_segment),
            chunks: count(|place| matches!(place, Place::Chunk(_))),
            unused_chunks: known.standing.iter().filter(unused).count() as u64,
            objects: known.standing.len() as u64,
            bytes: known.standing.iter().map(|it| it.bytes).sum(),
            read_objects: read.objects + read_data.objects,
            read_bytes: read.bytes + read_data.bytes,
            left,
            accepted,
            findings: known.findings.into_values().collect(),
            lost,
        })
    }

    /// Leaves what is due, in the order in which it is to be read, and says how many more are.
    fn choose_due(
        &self,
        data: &mut Vec<Standing>,
        ledger: &Ledger,
        options: &VerifyOptions,
    ) -> u64 {
        if options.depth == Depth::Listed {
            data.clear();
            return 0;
        }
        let now = Utc::now();
        data.retain(|it| ledger.is_due(self.short(&it.name), it.bytes, now, options.period));
        data.sort_by_key(|it| ledger.proven(self.short(&it.name)));
        let (mut bytes, due) = (0_u64, data.len());
        data.retain(|it| {
            // One at least, so that a limit below the size of an object does not stop everything.
            let fits = bytes == 0 || bytes.saturating_add(it.bytes) <= options.max_bytes;
            bytes = bytes.saturating_add(if fits { it.bytes } else { 0 });
            fits
        });
        (due - data.len()) as u64
    }

    async fn prove_all(
        &self,
        known: &mut Known,
        ledger: &mut Ledger,
        objects: Vec<Standing>,
        options: &VerifyOptions,
        progress: &(dyn Fn(u64) + Send + Sync),
        listed: &HashMap<ChunkName, ChunkRef>,
    ) -> Result<Count, VaultError> {
        for object in &objects {
            ledger.saw(self.short(&object.name), object.bytes);
        }
        let units = u32::try_from(options.memory_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let memory = Semaphore::new(units.max(1) as usize);
        let mut proofs = stream::iter(objects)
            .map(async |object| {
                let need = u32::try_from(object.bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
                // An error would say that the semaphore was closed, which it is not.
                let _permit = memory.acquire_many(need.clamp(1, units.max(1))).await;
                let chunk = match object.place {
                    Place::Chunk(chunk) => listed.get(&chunk).copied(),
                    _ => None,
                };
                (self.prove(&object, chunk).await, object)
            })
            .buffer_unordered(options.parallel.max(1));
        let mut count = Count::default();
        while let Some((read, object)) = proofs.next().await {
            match read? {
                Read::Sound(content) => {
                    count.objects += 1;
                    count.bytes += object.bytes;
                    ledger.note(self.short(&object.name), Utc::now().timestamp());
                    known.keep(&object, content, self);
                }
                Read::Gone => known.gone.push(object.clone()),
                Read::Unsound(wrong, reason) => {
                    count.objects += 1;
                    count.bytes += object.bytes;
                    ledger.damaged(self.short(&object.name));
                    known.find(object.name.clone(), wrong, reason);
                }
            }
            progress(object.bytes);
        }
        Ok(count)
    }

    /// A name in the cluster's folder, as ledgers have it.
    pub(super) fn short<'a>(&self, name: &'a str) -> &'a str {
        let inside = name.strip_prefix("clusters/").unwrap_or(name);
        let inside = inside.strip_prefix(self.name.as_str()).unwrap_or(inside);
        inside.strip_prefix('/').unwrap_or(inside)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    objects: u64,
    bytes: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

pub(super) fn is_segment(place: &Place) -> bool {
    matches!(
        place,
        Place::Timeline(ObjectName {
            kind: NameKind::Segment { .. },
            ..
        })
    )
}

/// Whether it is read only when it is due: what others are not compared with.
fn is_data(place: &Place) -> bool {
    is_segment(place) || matches!(place, Place::Chunk(_) | Place::Receipt(_))
}
