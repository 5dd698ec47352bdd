//! The gRPC service.

use std::sync::Arc;

use axum::extract::ConnectInfo;
use revkeep_schemas::agent_api::agent_server::Agent;
use revkeep_schemas::agent_api::{
    Base, Certificate, FlushRequest, FlushResponse, Reason, Snapshot, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse,
};
use revkeep_schemas::manifest::BaseManifest;
use revkeep_vault::door::Caller;
use tonic::{Request, Response, Status};

use super::Report;
use super::handle::StatusHandle;

/// Answers calls.
#[derive(Debug)]
pub(super) struct AgentService {
    status: Arc<StatusHandle>,
}

impl AgentService {
    pub(super) fn new(status: Arc<StatusHandle>) -> Self {
        Self { status }
    }
}

/// What costs the source or the vault something is done only for callers on this machine, or with a certificate that was
/// asked for: else the port has no login, and may be open to a whole network for probes and Prometheus.
fn from_here<T>(request: &Request<T>) -> Result<(), Status> {
    let caller = request.extensions().get::<ConnectInfo<Caller>>();
    if caller.is_some_and(|ConnectInfo(caller)| {
        caller.verified || caller.address.ip().to_canonical().is_loopback()
    }) {
        return Ok(());
    }
    Err(Status::permission_denied(
        "only callers on the agent's own machine may ask for this, or those with a certificate of --status-cacert: call it \
         there, by 127.0.0.1",
    ))
}

#[tonic::async_trait]
impl Agent for AgentService {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(response(self.status.report())))
    }

    async fn flush(
        &self,
        request: Request<FlushRequest>,
    ) -> Result<Response<FlushResponse>, Status> {
        from_here(&request)?;
        let durable = self.status.flush().await?;
        Ok(Response::new(FlushResponse {
            durable_revision: durable.0,
        }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotResponse>, Status> {
        from_here(&request)?;
        let base = self.status.snapshot().await?;
        Ok(Response::new(stored_base(&base)))
    }
}

/// What is told of a base.
pub(crate) fn stored_base(base: &BaseManifest) -> SnapshotResponse {
    let facts = &base.facts;
    SnapshotResponse {
        revision: facts.revision.0,
        compact_revision: facts.compact_revision.0,
        rows: base.rows,
        plain_bytes: base.plain_bytes,
        stored_bytes: base.stored_bytes,
        hash_kv: facts.checkpoint.map(|checkpoint| checkpoint.hash),
        chunks: base.chunks.len() as u64,
    }
}

fn response(report: Report) -> StatusResponse {
    let (ready, healthy) = (report.is_ready(), report.is_healthy());
    let lag_revisions = report.lag_revisions();
    let ms = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: report.cluster,
        timeline: report
            .timeline
            .map(|timeline| timeline.to_string())
            .unwrap_or_default(),
        phase: report.phase.word().to_owned(),
        phase_since_unix_ms: report.phase_since_unix_ms,
        ready,
        healthy,
        reasons: report
            .reasons
            .into_iter()
            .map(|reason| Reason {
                code: reason.code.to_owned(),
                message: reason.message,
            })
            .collect(),
        source_revision: report.source.0,
        durable_revision: report.durable.0,
        lag_revisions,
        lag_ms: ms(report.lag),
        last_base: report.last_base.map(|base| Base {
            revision: base.revision.0,
            compact_revision: base.compact_revision.0,
            taken_unix_ms: base.taken_unix_ms,
        }),
        last_snapshot: report.last_snapshot.map(|snapshot| Snapshot {
            revision: snapshot.revision.0,
            bytes: snapshot.bytes,
            duration_ms: snapshot.duration_ms,
        }),
        gaps_recorded: report.gaps.recorded,
        gaps_waiting: report.gaps.found.saturating_sub(report.gaps.recorded),
        lost_revisions: report.gaps.revisions,
        compact_revision: report.compact.0,
        headroom_revisions: report.headroom_revisions,
        headroom_ms: report.headroom.map(ms),
        certificates: report
            .certificates
            .into_iter()
            .map(|one| Certificate {
                usage: one.usage.word().to_owned(),
                place: one.place,
                expires_unix_ms: one.unix_ms,
            })
            .collect(),
        vault_error: report.vault_error.unwrap_or_default(),
        role: report.role.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_heard() {
        let asked_by = |peer: &str, verified| {
            let mut request = Request::new(FlushRequest {});
            let caller = Caller {
                address: peer.parse().unwrap(),
                asked: verified,
                verified,
            };
            request.extensions_mut().insert(ConnectInfo(caller));
            from_here(&request).is_ok()
        };
        for here in [
            "127.0.0.1:9",
            "127.3.2.1:9",
            "[::1]:9",
            "[::ffff:127.0.0.1]:9",
        ] {
            assert!(asked_by(here, false), "{here}");
        }
        for elsewhere in ["10.0.0.7:9", "[fe80::1]:9", "[::ffff:10.0.0.7]:9"] {
            assert!(!asked_by(elsewhere, false), "{elsewhere}");
            assert!(asked_by(elsewhere, true), "{elsewhere}");
        }
        assert!(from_here(&Request::new(FlushRequest {})).is_err());
    }
}
