//! What a restore says when it is done.

use std::fmt;
use std::path::PathBuf;

use revkeep_schemas::Revision;

use crate::bump::Bump;
use crate::command::Step;
use crate::estimate::{Estimate, Traffic};
use crate::leases::LeaseRule;
use crate::overlap::OverlapReport;
use crate::point::Point;
use crate::replay::Proof;

/// Where the seconds went.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Seconds {
    /// Reading manifests and indexes, and deciding.
    pub plan: f64,
    /// The first pass: which keys were touched after the base's compact revision.
    pub index: f64,
    /// The second pass: streaming the rows into the db file.
    pub write: f64,
    /// Reading the file back, and the rename.
    pub verify: f64,
}

/// The HashKV of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ResultHash {
    /// As a server would answer for this revision and compact revision.
    pub hash: u32,
    /// The revision.
    pub revision: Revision,
    /// The compact revision.
    pub compact_revision: Revision,
}

/// What a plan reads.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PlanReport {
    /// The cluster.
    pub cluster: String,
    /// The timeline.
    pub timeline: String,
    /// The revision to restore.
    pub revision: Revision,
    /// When the revision was seen, and what came after it; once it was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
    /// The compact revision of the result.
    pub compact_revision: Revision,
    /// The base's revision.
    pub base_revision: Revision,
    /// The base's compact revision: no history below it can be kept.
    pub base_compact_revision: Revision,
    /// Chunks of the base.
    pub chunks: usize,
    /// Segments after the base.
    pub segments: usize,
    /// To which revision the result is raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bump: Option<Bump>,
    /// What becomes of leases.
    #[serde(rename = "lease_rule")]
    pub leases: LeaseRule,
    /// What it will take, as far as that was known before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// How segments that overlap were compared.
    pub overlaps: OverlapReport,
    /// Rows to read.
    pub rows: u64,
    /// Their bytes, unpacked.
    pub plain_bytes: u64,
    /// The source's version.
    pub etcd_version: String,
    /// The source's statements that the rows will be compared with, as (revision, compact revision).
    pub checkpoints: Vec<(Revision, Revision)>,
}

/// What a restore would do.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DryRun {
    /// What it would read.
    #[serde(flatten)]
    pub plan: PlanReport,
    /// What the reader has to know besides.
    pub notes: Vec<String>,
    /// What to type for each member.
    pub steps: Vec<Step>,
}

/// What was restored, and what proves it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Report {
    /// What was read.
    #[serde(flatten)]
    pub plan: PlanReport,
    /// The result.
    pub target: PathBuf,
    /// Rows in the result.
    pub restored_rows: u64,
    /// Bytes of its db file.
    pub db_bytes: u64,
    /// Its HashKV.
    pub hashkv: ResultHash,
    /// The comparisons with what the source reported; all were equal.
    pub compared_with: Vec<Proof>,
    /// Leases that keys of the result are attached to.
    pub leases: usize,
    /// Rows whose lease was taken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detached_rows: Option<u64>,
    /// Leases whose TTL the vault does not know: they got one hour.
    pub leases_with_unknown_ttl: Vec<String>,
    /// What the reader has to know besides.
    pub notes: Vec<String>,
    /// What to do with it now.
    pub next: String,
    /// What was fetched from the vault in all.
    pub fetched: Traffic,
    /// Where the seconds went.
    pub seconds: Seconds,
}

/// Bytes for eyes: in the largest unit of which there is one, to a tenth.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} bytes");
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

fn note_lines(f: &mut fmt::Formatter<'_>, notes: &[String]) -> fmt::Result {
    notes.iter().try_for_each(|note| line(f, "note", note))
}

fn point_lines(f: &mut fmt::Formatter<'_>, plan: &PlanReport) -> fmt::Result {
    match &plan.point {
        Some(point) => fmt::Display::fmt(point, f),
        None => line(f, "revision", plan.revision),
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{name:<17} {value}")
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(
            f,
            "cluster",
            format!("{} (timeline {})", self.cluster, self.timeline),
        )?;
        point_lines(f, self)?;
        line(f, "compact revision", self.compact_revision)?;
        line(
            f,
            "base",
            format!(
                "revision {}, compacted at {}, {} chunks, etcd {}",
                self.base_revision, self.base_compact_revision, self.chunks, self.etcd_version
            ),
        )?;
        line(f, "segments", self.segments)?;
        if let Some(bump) = &self.bump {
            line(f, "bumped", bump)?;
        }
        if self.overlaps.segments > 0 {
            line(f, "overlaps", self.overlaps)?;
        }
        line(
            f,
            "reads",
            format!("{} rows, {}", self.rows, size(self.plain_bytes)),
        )?;
        for (revision, compact) in &self.checkpoints {
            line(
                f,
                "compares with",
                format!("the source's HashKV at revision {revision} (compact revision {compact})"),
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.plan, f)?;
        if let Some(estimate) = &self.plan.estimate {
            fmt::Display::fmt(estimate, f)?;
        }
        note_lines(f, &self.notes)?;
        writeln!(
            f,
            "\nFirst stop what is to be replaced, and keep its data. Then:"
        )?;
        let mut on: Option<&str> = None;
        for step in &self.steps {
            let member = step.member.as_deref();
            if let Some(member) = member.filter(|_| on != member) {
                writeln!(f, "\n  # on {member}")?;
            }
            on = member;
            writeln!(f, "  {}", step.command)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "restored", self.target.display())?;
        line(
            f,
            "cluster",
            format!("{} (timeline {})", self.plan.cluster, self.plan.timeline),
        )?;
        point_lines(f, &self.plan)?;
        line(f, "compact revision", self.plan.compact_revision)?;
        line(f, "rows", self.restored_rows)?;
        line(f, "database", size(self.db_bytes))?;
        if let Some(bump) = &self.plan.bump {
            line(f, "bumped", bump)?;
        }
        line(f, "HashKV", self.hashkv.hash)?;
        for proof in &self.compared_with {
            line(
                f,
                "verified",
                format!(
                    "equal to the source's HashKV {} at revision {} (compact revision {})",
                    proof.source, proof.revision, proof.compact_revision
                ),
            )?;
        }
        if self.plan.overlaps.segments > 0 {
            line(f, "overlaps", self.plan.overlaps)?;
        }
        match self.detached_rows {
            None => line(f, "leases", self.leases)?,
            Some(rows) => line(f, "leases", format!("taken off {rows} rows"))?,
        }
        line(f, "fetched", self.fetched)?;
        let s = &self.seconds;
        line(
            f,
            "seconds",
            format!(
                "plan {:.2}, index {:.2}, write {:.2}, verify {:.2}",
                s.plan, s.index, s.write, s.verify
            ),
        )?;
        note_lines(f, &self.notes)?;
        line(f, "next", &self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_for_eyes() {
        let said = [0, 1023, 1024, 1_600_000, 1 << 30, u64::MAX].map(size);
        let expected = [
            "0 bytes",
            "1023 bytes",
            "1.0 KiB",
            "1.5 MiB",
            "1.0 GiB",
            "17179869183.9 GiB",
        ];
        assert_eq!(said, expected);
    }
}
