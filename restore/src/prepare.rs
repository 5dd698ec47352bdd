//! From a target to everything that a restore needs to know before it reads rows.

use std::collections::BTreeMap;

use revkeep_schemas::hashkv::TombstoneRule;
use revkeep_schemas::manifest::SmallBucket;
use revkeep_vault::Piece;

use crate::bump::Bump;
use crate::error::RestoreError;
use crate::leases::{LeaseRule, granted};
use crate::overlap::{self, Overlaps};
use crate::plan::{History, Plan, Target, choose, compact_revision_at};
use crate::replay::{Recipe, proofs};
use crate::report::PlanReport;
use crate::source::Source;
use crate::survey::Survey;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which point in history.
    pub target: Target,
    /// How much history the result keeps.
    pub history: History,
    /// How far overlapping segments are compared.
    pub overlaps: Overlaps,
}

/// A restore, decided.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What to make of the rows.
    pub recipe: Recipe,
    /// What the first pass reads: rows above the base's compact revision; nothing where nothing was compacted.
    pub index_pieces: Vec<Piece>,
    /// What the second pass reads: everything.
    pub pieces: Vec<Piece>,
    /// Rows that the first pass sees at most.
    pub index_rows: u64,
    /// Bytes that all passes read, unpacked, at most.
    pub total_bytes: u64,
    /// The base's buckets other than `key`.
    pub buckets: Vec<SmallBucket>,
    /// Granted TTLs in seconds by lease id.
    pub granted: BTreeMap<i64, i64>,
    /// What the reader has to know.
    pub notes: Vec<String>,
    /// Those of the notes that hold whatever the plan is.
    remarks: Vec<String>,
    /// Those of them that are of damaged objects.
    pub damage: Vec<String>,
    /// The plan in words.
    pub report: PlanReport,
}

impl Prepared {
    /// The same plan with all that was asked for on top of another one.
    #[must_use]
    pub fn finished_like(mut self, other: Self) -> Self {
        self.report.point = other.report.point;
        self.report.estimate = other.report.estimate;
        self.with_leases(other.recipe.leases);
        if let Some(bump) = other.report.bump {
            self.bump(bump);
        }
        self.remark(other.remarks);
        self
    }

    /// Adds notes that hold for any plan that is made in the place of this one, too.
    pub fn remark(&mut self, remarks: impl IntoIterator<Item = String>) {
        for remark in remarks {
            self.notes.push(remark.clone());
            self.remarks.push(remark);
        }
    }

    /// Raises the result's revision once its rows are proved, and compacts all before.
    pub fn bump(&mut self, bump: Bump) {
        self.recipe.bumped = Some(bump.revision);
        self.notes.push(format!(
            "HashKV is of the rows before the revision is bumped; the cluster answers from revision {} on, and for what is older that it is \
             compacted",
            bump.revision
        ));
        self.report.bump = Some(bump);
    }

    /// Says what becomes of leases once the rows are proved.
    pub fn with_leases(&mut self, rule: LeaseRule) {
        self.recipe.leases = rule;
        self.report.leases = rule;
        self.notes.extend(match rule {
            LeaseRule::Keep => None,
            LeaseRule::Detach => Some(
                "what the source reported is compared before the leases are taken off; rows that named one differ from the \
                 source's then, and so does the HashKV of the result"
                    .to_owned(),
            ),
            LeaseRule::Expire => Some(
                "leases have a second left: keys whose lease nobody keeps alive are deleted right after the start, by \
                 revisions of their own. etcd 3.5.0 and 3.5.1 do not read what is left, and let them run their granted time"
                    .to_owned(),
            ),
        });
    }
}

/// Decides. Reads indexes of segments, and rows only where segments overlap ([`overlap`]).
///
/// A segment that turns out to be damaged is passed over if others cover its range. The newest revision is not an older one
/// because something is damaged: that is an error.
///
/// # Errors
/// As [`choose`]; [`Kind::Verification`](crate::Kind::Verification) when there would be a plan if it were not for
/// damaged objects, or when overlapping segments differ; when the store cannot be reached.
pub async fn prepare(source: &Source, request: Request) -> Result<Prepared, RestoreError> {
    let Request {
        target,
        history,
        overlaps,
    } = request;
    let mut source = source.clone();
    let target = source.resolve(target);
    let (plan, survey, compared, mut notes) = loop {
        let plan = choose(&source.holdings(), target, history)
            .map_err(|refusal| source.explain(refusal, target, history))?;
        let survey = Survey::of(&source, &plan).await?;
        if !survey.unusable.is_empty() {
            source.set_aside(&survey.unusable);
            continue;
        }
        let mut notes = source.damage_notes();
        match overlap::verify(&source, &plan, &survey, overlaps, &mut notes).await {
            Err(error) if source.set_lost_aside(&error) => {}
            compared => break (plan, survey, compared?, notes),
        }
    };
    let mut prepared = assemble(&source, &plan, history, survey)?;
    prepared.report.overlaps = compared;
    prepared.notes.append(&mut notes);
    prepared.damage = source.damage_notes();
    Ok(prepared)
}

/// Puts together what the execution needs.
fn assemble(
    source: &Source,
    plan: &Plan,
    history: History,
    survey: Survey,
) -> Result<Prepared, RestoreError> {
    let base = source.base(plan)?;
    let read = plan.steps.iter().filter_map(|step| survey.at(step.segment));
    let (segment_rows, segment_bytes) = read.fold((0_u64, 0_u64), |(rows, bytes), segment| {
        (
            rows.saturating_add(segment.rows),
            bytes.saturating_add(segment.plain_bytes),
        )
    });
    let mut facts = survey.facts;
    facts.compactions.extend(source.base_compactions());
    let compact_revision = compact_revision_at(plan, history, &facts.compactions);
    let mut recipe = Recipe {
        target: plan.target,
        compact_revision,
        floor: plan.floor(),
        base_revision: base.facts.revision,
        base_digest: base.digest,
        rule: TombstoneRule::for_version(&base.facts.etcd_version),
        checkpoints: Vec::new(),
        bumped: None,
        leases: LeaseRule::Keep,
    };
    let known: Vec<_> = base
        .facts
        .checkpoint
        .into_iter()
        .chain(facts.checkpoints.iter().copied())
        .collect();
    recipe.checkpoints = proofs(&known, plan.floor(), plan.target, recipe.end());

    let segments = source.segment_pieces(plan);
    let plain_bytes = base.plain_bytes.saturating_add(segment_bytes);
    let with_segments =
        |chunks: Vec<Piece>| -> Vec<_> { chunks.into_iter().chain(segments.clone()).collect() };
    let (mut index_pieces, mut index_rows, mut index_bytes) = (Vec::new(), 0, 0);
    if recipe.needs_index() {
        let recent = base.chunks.iter().filter(|chunk| chunk.last > plan.floor());
        (index_rows, index_bytes) = (segment_rows, segment_bytes);
        for chunk in recent.clone() {
            index_rows = index_rows.saturating_add(chunk.rows);
            index_bytes = index_bytes.saturating_add(chunk.plain_bytes);
        }
        index_pieces = with_segments(recent.copied().map(Piece::Chunk).collect());
    }

    let leases = base
        .facts
        .buckets
        .iter()
        .find(|bucket| bucket.name == b"lease");
    let leases = leases.into_iter().flat_map(|bucket| &bucket.entries);
    let mut ttls = granted(leases.map(|(key, value)| (key.as_slice(), value.as_slice())));
    facts.complete(&mut ttls, base.facts.revision);

    Ok(Prepared {
        index_pieces,
        pieces: with_segments(base.chunks.iter().copied().map(Piece::Chunk).collect()),
        index_rows,
        total_bytes: index_bytes.saturating_add(plain_bytes),
        buckets: base.facts.buckets.clone(),
        granted: ttls,
        notes: notes(&recipe, &base.facts.buckets),
        remarks: Vec::new(),
        damage: Vec::new(),
        report: PlanReport {
            cluster: source.timeline.cluster().name().to_string(),
            timeline: source.timeline.id().to_string(),
            revision: recipe.target,
            point: None,
            compact_revision,
            base_revision: recipe.base_revision,
            base_compact_revision: recipe.floor,
            chunks: base.chunks.len(),
            segments: segments.len(),
            bump: None,
            leases: LeaseRule::Keep,
            estimate: None,
            overlaps: overlap::OverlapReport::default(),
            rows: base.rows.saturating_add(segment_rows),
            plain_bytes,
            etcd_version: base.facts.etcd_version.clone(),
            checkpoints: recipe
                .checkpoints
                .iter()
                .map(|known| (known.revision, known.compact_revision))
                .collect(),
        },
        recipe,
    })
}

fn notes(recipe: &Recipe, buckets: &[SmallBucket]) -> Vec<String> {
    let mut notes = Vec::new();
    if recipe.checkpoints.is_empty() {
        notes.push(
            "the vault has no HashKV of the source that these rows can be compared with; they were checked against the manifests only"
                .to_owned(),
        );
    }
    let proven = recipe.checkpoints.iter().map(|known| known.revision).max();
    if let Some(proven) = proven.filter(|proven| *proven < recipe.target) {
        notes.push(format!(
            "the source reported no HashKV after revision {proven} that these rows can be compared with; later rows were checked \
             against the hashes of their segments"
        ));
    }
    let auth = buckets
        .iter()
        .any(|bucket| bucket.name.starts_with(b"auth") && bucket.entries.len() > 1);
    if auth && recipe.base_revision != recipe.target {
        notes.push(format!(
            "users and roles are those of the base at revision {}: revisions do not record their changes",
            recipe.base_revision
        ));
    }
    notes
}
