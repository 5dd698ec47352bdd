//! The gRPC service: each call asks the catalog, and its answer is written as a message.

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::catalog_api as api;
use revkeep_schemas::catalog_api::catalog_server;
use revkeep_schemas::names::{ClusterName, TimelineId};
use tonic::{Request, Response, Status};

use crate::catalog::Catalog;
use crate::catalog::query::{
    Expectations, Hole, KeyRange, Scope, Severity, StatusAnswer, StatusPage,
};
use crate::error::{ErrorKind, VaultError};
use crate::vault::Vault;

/// Answers calls.
pub(super) struct Answers {
    catalog: Catalog,
    vault: Vault,
}

type Answer<T> = Result<Response<T>, Status>;

impl Answers {
    pub(super) const fn new(catalog: Catalog, vault: Vault) -> Self {
        Self { catalog, vault }
    }

    /// The vault, where an exact answer is asked for.
    fn exact(&self, exact: bool) -> Option<&Vault> {
        exact.then_some(&self.vault)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn status(error: VaultError) -> Status {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::NotFound => Status::not_found(text),
        ErrorKind::Retry => Status::unavailable(text),
        ErrorKind::Corrupt => Status::data_loss(text),
        ErrorKind::Config | ErrorKind::Gap | ErrorKind::Refused => {
            Status::failed_precondition(text)
        }
        ErrorKind::Internal => Status::internal(text),
    }
}

fn cluster(name: &str) -> Result<ClusterName, Status> {
    ClusterName::new(name).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn scope(scope: Option<&api::Scope>) -> Result<Scope, Status> {
    let Some(scope) = scope else {
        return Err(Status::invalid_argument("name a cluster in scope"));
    };
    let timeline = match scope.timeline.as_str() {
        "" => None,
        timeline => Some(timeline.parse::<TimelineId>()),
    };
    Ok(Scope {
        cluster: cluster(&scope.cluster)?,
        timeline: timeline
            .transpose()
            .map_err(|error| Status::invalid_argument(error.to_string()))?,
    })
}

fn maybe(name: &str) -> Result<Option<Scope>, Status> {
    if name.is_empty() {
        return Ok(None);
    }
    Ok(Some(Scope::newest(cluster(name)?)))
}

fn number(revision: Option<Revision>) -> Option<i64> {
    revision.map(|revision| revision.0)
}

fn or(value: u32, otherwise: u32) -> u32 {
    if value == 0 { otherwise } else { value }
}

fn hole(hole: Hole) -> api::Hole {
    api::Hole {
        first: hole.first.0,
        last: hole.last.0,
        kind: hole.kind,
        reason: hole.reason.unwrap_or_default(),
    }
}

fn severity(severity: Severity) -> String {
    match severity {
        Severity::Ok => "ok",
        Severity::Notice => "notice",
        Severity::Problem => "problem",
    }
    .to_owned()
}

fn cluster_status(answer: StatusAnswer) -> api::ClusterStatus {
    let facts = answer.facts;
    api::ClusterStatus {
        cluster: facts.cluster,
        condition: answer.condition.word().to_owned(),
        severity: severity(answer.severity),
        reasons: answer.reasons,
        timeline: facts.timeline.unwrap_or_default(),
        minimum: number(facts.minimum),
        maximum: number(facts.maximum),
        maximum_seen_unix_ms: facts.maximum_seen_ms,
        base_revision: number(facts.base_revision),
        base_stored_unix_ms: facts.base_stored_ms,
        lost: facts.lost,
        thinned: facts.thinned,
        missing: facts.missing,
        damaged: facts.damaged,
        objects: facts.objects,
        bytes: facts.bytes,
        heartbeat_unix_ms: facts.heartbeat_ms,
        source_revision: number(facts.source_revision),
        proven_revision: number(facts.proven_revision),
        proven_unix_ms: facts.proven_ms,
        synced_unix_ms: facts.synced_ms,
        error: facts.error.unwrap_or_default(),
        behind_since_unix_ms: facts.behind_since_ms,
        unsound: facts.unsound.unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl catalog_server::Catalog for Answers {
    async fn status(&self, request: Request<api::StatusRequest>) -> Answer<api::StatusResponse> {
        let asked = request.into_inner();
        let expected = Expectations {
            proven_within: (asked.proven_within_s > 0)
                .then(|| std::time::Duration::from_secs(asked.proven_within_s)),
            ..Expectations::default()
        };
        let now = Utc::now().timestamp_millis();
        let page = if let Some(scope) = maybe(&asked.cluster)? {
            let one = self.catalog.status_of(&scope, &expected, now).await;
            StatusPage::of(vec![one.map_err(status)?])
        } else {
            let label = Some(asked.label.as_str()).filter(|label| !label.is_empty());
            let part = (asked.offset, or(asked.limit, 100));
            let page = self.catalog.status(&expected, now, label, part).await;
            page.map_err(status)?
        };
        Ok(Response::new(api::StatusResponse {
            worst: severity(page.worst),
            total: page.total,
            problems: page.problems,
            clusters: page.clusters.into_iter().map(cluster_status).collect(),
        }))
    }

    async fn coverage(
        &self,
        request: Request<api::CoverageRequest>,
    ) -> Answer<api::CoverageResponse> {
        let asked = request.into_inner();
        let scope = scope(asked.scope.as_ref())?;
        let answer = match asked.as_of_unix_ms {
            None => self.catalog.coverage(&scope).await,
            Some(time) => self.catalog.coverage_as_of(&scope, time).await,
        };
        let answer = answer.map_err(status)?;
        let range = |range: &crate::catalog::query::Range| api::Range {
            first: range.first.0,
            last: range.last.0,
        };
        Ok(Response::new(api::CoverageResponse {
            minimum: number(answer.minimum),
            maximum: number(answer.maximum),
            ranges: answer.ranges.iter().map(range).collect(),
            holes: answer.holes.into_iter().map(hole).collect(),
            cluster: answer.cluster,
            timeline: answer.timeline,
        }))
    }

    async fn point(&self, request: Request<api::PointRequest>) -> Answer<api::PointResponse> {
        let asked = request.into_inner();
        let scope = scope(asked.scope.as_ref())?;
        let answer = self.catalog.point(&scope, Revision(asked.revision)).await;
        let answer = answer.map_err(status)?;
        Ok(Response::new(api::PointResponse {
            cluster: answer.cluster,
            timeline: answer.timeline,
            revision: answer.revision.0,
            recoverable: answer.recoverable,
            below: number(answer.below),
            above: number(answer.above),
            hole: answer.hole.map(hole),
        }))
    }

    async fn revision_at(
        &self,
        request: Request<api::RevisionAtRequest>,
    ) -> Answer<api::RevisionAtResponse> {
        let asked = request.into_inner();
        let scope = scope(asked.scope.as_ref())?;
        let vault = self.exact(asked.exact);
        let answer = self.catalog.revision_at(&scope, asked.unix_ms, vault).await;
        let answer = answer.map_err(status)?;
        Ok(Response::new(api::RevisionAtResponse {
            cluster: answer.cluster,
            timeline: answer.timeline,
            unix_ms: answer.unix_ms,
            revision: number(answer.revision),
            at_most: number(answer.at_most),
            recoverable: answer.recoverable,
        }))
    }

    async fn time_of(&self, request: Request<api::TimeOfRequest>) -> Answer<api::TimeOfResponse> {
        let asked = request.into_inner();
        let scope = scope(asked.scope.as_ref())?;
        let (revision, vault) = (Revision(asked.revision), self.exact(asked.exact));
        let answer = self.catalog.time_of(&scope, revision, vault).await;
        let answer = answer.map_err(status)?;
        Ok(Response::new(api::TimeOfResponse {
            cluster: answer.cluster,
            timeline: answer.timeline,
            revision: answer.revision.0,
            seen_unix_ms: answer.seen_ms,
            until_unix_ms: answer.until_ms,
            exact: answer.exact,
        }))
    }

    async fn usage(&self, request: Request<api::UsageRequest>) -> Answer<api::UsageResponse> {
        let asked = request.into_inner();
        let scope = maybe(&asked.cluster)?;
        let now = Utc::now().timestamp_millis();
        let usage = self.catalog.usage(scope.as_ref(), now).await;
        let usage = usage.map_err(status)?;
        let mut largest = Vec::new();
        if asked.largest > 0 {
            let found = self.catalog.largest(asked.largest).await;
            largest = found.map_err(status)?;
        }
        let line = |line: crate::catalog::query::UsageLine| api::UsageLine {
            kind: line.kind,
            level: line.level.into(),
            age: line.age,
            objects: line.objects,
            bytes: line.bytes,
        };
        let cluster = |one: crate::catalog::query::ClusterUsage| api::ClusterUsage {
            cluster: one.cluster,
            objects: one.objects,
            bytes: one.bytes,
        };
        Ok(Response::new(api::UsageResponse {
            objects: usage.objects,
            bytes: usage.bytes,
            lines: usage.lines.into_iter().map(line).collect(),
            largest: largest.into_iter().map(cluster).collect(),
        }))
    }

    async fn touching(
        &self,
        request: Request<api::TouchingRequest>,
    ) -> Answer<api::TouchingResponse> {
        let asked = request.into_inner();
        let scope = scope(asked.scope.as_ref())?;
        let to = if asked.to_revision == 0 {
            i64::MAX
        } else {
            asked.to_revision
        };
        let wanted =
            KeyRange {
                key: asked.key.to_vec(),
                prefix: asked.prefix,
                from: Revision(asked.from_revision),
                to: Revision(to),
                limit: or(asked.limit, 1_000),
                after: match asked.after.as_str() {
                    "" => None,
                    after => Some(after.parse().map_err(|error: VaultError| {
                        Status::invalid_argument(error.to_string())
                    })?),
                },
            };
        let vault = self.exact(asked.exact);
        let answer = self.catalog.touching(&scope, &wanted, vault).await;
        let answer = answer.map_err(status)?;
        let segment = |one: crate::catalog::query::SegmentAnswer| api::Segment {
            name: one.name,
            level: one.level.into(),
            first: one.first.0,
            last: one.last.0,
            bytes: one.bytes,
            first_unix_ms: one.first_ms,
            last_unix_ms: one.last_ms,
        };
        Ok(Response::new(api::TouchingResponse {
            cluster: answer.cluster,
            timeline: answer.timeline,
            segments: answer.segments.into_iter().map(segment).collect(),
            more: answer.more,
            filtered: answer.filtered,
            next: answer
                .next
                .map_or_else(String::new, |next| next.to_string()),
        }))
    }

    async fn timelines(&self, request: Request<api::Scope>) -> Answer<api::TimelinesResponse> {
        let scope = scope(Some(request.get_ref()))?;
        let found = self.catalog.timelines(&scope).await.map_err(status)?;
        let timelines = found.into_iter().map(|one| api::Timeline {
            timeline: one.timeline,
            parent: one.parent.unwrap_or_default(),
            fork_revision: number(one.fork_revision),
            fork_at_most: one.fork_at_most,
            source_cluster_id: one.source_cluster_id,
            etcd_version: one.etcd_version,
            first_seen_unix_ms: one.first_seen_ms,
            minimum: number(one.minimum),
            maximum: number(one.maximum),
        });
        Ok(Response::new(api::TimelinesResponse {
            timelines: timelines.collect(),
        }))
    }

    async fn bases(&self, request: Request<api::Scope>) -> Answer<api::BasesResponse> {
        let scope = scope(Some(request.get_ref()))?;
        let found = self.catalog.bases(&scope).await.map_err(status)?;
        let bases = found.into_iter().map(|one| api::Base {
            revision: one.revision.0,
            uid: one.uid,
            compact_revision: one.compact_revision.0,
            stored_unix_ms: one.stored_ms,
            finished_unix_ms: one.finished_ms,
            rows: one.rows,
            plain_bytes: one.plain_bytes,
            chunk_bytes: one.chunk_bytes,
            chunks: one.chunks,
            etcd_version: one.etcd_version,
        });
        Ok(Response::new(api::BasesResponse {
            bases: bases.collect(),
        }))
    }

    async fn gaps(&self, request: Request<api::Scope>) -> Answer<api::GapsResponse> {
        let scope = scope(Some(request.get_ref()))?;
        let found = self.catalog.gaps(&scope).await.map_err(status)?;
        let gaps = found.into_iter().map(|one| api::Gap {
            first: one.first.0,
            last: one.last.0,
            reason: one.reason,
            distrusted: one.distrusted,
            stored_unix_ms: one.stored_ms,
        });
        Ok(Response::new(api::GapsResponse {
            gaps: gaps.collect(),
        }))
    }

    async fn checkpoints(&self, request: Request<api::Scope>) -> Answer<api::CheckpointsResponse> {
        let scope = scope(Some(request.get_ref()))?;
        let found = self.catalog.checkpoints(&scope).await.map_err(status)?;
        let checkpoints = found.into_iter().map(|one| api::Checkpoint {
            revision: one.revision.0,
            compact_revision: one.compact_revision.0,
            hash: one.hash,
        });
        Ok(Response::new(api::CheckpointsResponse {
            checkpoints: checkpoints.collect(),
        }))
    }

    async fn pins(&self, request: Request<api::Scope>) -> Answer<api::PinsResponse> {
        let scope = scope(Some(request.get_ref()))?;
        let found = self.catalog.pins(&scope).await.map_err(status)?;
        let pins = found.into_iter().map(|one| api::Pin {
            name: one.name,
            timeline: one.timeline,
            revision: one.revision.0,
            reason: one.reason,
            created_unix_ms: one.created_ms,
            expires_unix_ms: one.expires_ms,
            recoverable: one.recoverable,
        });
        Ok(Response::new(api::PinsResponse {
            pins: pins.collect(),
        }))
    }

    async fn retention_runs(
        &self,
        request: Request<api::Scope>,
    ) -> Answer<api::RetentionRunsResponse> {
        let scope = scope(Some(request.get_ref()))?;
        let found = self.catalog.retention_runs(&scope).await.map_err(status)?;
        let runs = found.into_iter().map(|one| api::RetentionRun {
            round: one.round,
            state: one.state,
            marked_unix_ms: one.marked_ms,
            swept_unix_ms: one.swept_ms,
            bases: one.bases,
            segments: one.segments,
            chunks: one.chunks,
            bytes: one.bytes,
        });
        Ok(Response::new(api::RetentionRunsResponse {
            runs: runs.collect(),
        }))
    }

    async fn verifications(
        &self,
        request: Request<api::Scope>,
    ) -> Answer<api::VerificationsResponse> {
        let scope = scope(Some(request.get_ref()))?;
        let found = self.catalog.verifications(&scope).await.map_err(status)?;
        let verifications = found.into_iter().map(|one| api::Verification {
            name: one.name,
            kind: one.kind,
            timeline: one.timeline.unwrap_or_default(),
            revision: number(one.revision),
            started_unix_ms: one.started_ms,
            ended_unix_ms: one.ended_ms,
            ok: one.ok,
            objects: one.objects,
            bytes: one.bytes,
            detail: one.detail,
        });
        Ok(Response::new(api::VerificationsResponse {
            verifications: verifications.collect(),
        }))
    }

    async fn damaged(&self, request: Request<api::DamagedRequest>) -> Answer<api::DamagedResponse> {
        let scope = maybe(&request.get_ref().cluster)?;
        let found = self.catalog.damaged(scope.as_ref()).await.map_err(status)?;
        let damaged = found.into_iter().map(|one| api::DamagedObject {
            cluster: one.cluster,
            name: one.name,
            kind: one.kind,
            reason: one.reason,
        });
        Ok(Response::new(api::DamagedResponse {
            damaged: damaged.collect(),
        }))
    }
}
