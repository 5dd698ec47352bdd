//! Restores into the folder of a member, boots it, and asks it.

use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::member::{NewMember, RestoredCluster};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::compare::Booted;
use crate::error::{Kind, RestoreError};
use crate::execute::{Destination, execute};
use crate::members::{self, Place};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::source::Source;

pub(super) const TOKEN: &str = "revkeep-drill";
/// A member that reads its file more slowly than this is given up.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;

/// Restores what is prepared into the folder of a member.
pub(super) async fn restore(
    kind: members::Kind,
    source: &Source,
    prepared: Prepared,
    place: &Place,
    cancelled: watch::Receiver<bool>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
) -> Result<Report, RestoreError> {
    let cluster = RestoredCluster {
        members: vec![NewMember {
            name: place.name.clone(),
            peer_urls: vec![place.peer_url.clone()],
        }],
        token: TOKEN.to_owned(),
    };
    let path = place.directory.clone();
    let destination = match kind {
        members::Kind::Store => Destination::StoreDir { path, cluster },
        members::Kind::Etcd => Destination::DataDir {
            path,
            wal_dir: None,
            cluster,
            name: place.name.clone(),
        },
    };
    let source = source.clone();
    let runtime = Handle::current();
    let working = tokio::task::spawn_blocking(move || {
        execute(
            &runtime,
            &source,
            &prepared,
            &destination,
            &cancelled,
            0.0,
            &|bytes| progress(bytes),
        )
    });
    working.await.map_err(|error| {
        RestoreError::new(Kind::Failed, "the restore's thread ended early").because(error)
    })?
}

/// Waits until the member leads, reads from it, and asks it for its HashKV. What goes wrong here is wrong with what was
/// restored: it does not boot; unless the machine is the reason.
pub(super) async fn ask(
    members: &mut members::Cluster,
    report: &Report,
) -> Result<Booted, RestoreError> {
    let size = Duration::from_secs(report.db_bytes / SLOWEST_BYTES_PER_SECOND);
    let patience = members::READY + size;
    let led = members.wait_for_leader_within(patience).await;
    let answered = match led {
        Ok(_) => answers(members, report, patience).await,
        Err(error) => return Err(does_not_serve(members, &error)),
    };
    match members.check() {
        Ok(()) => answered,
        Err(error) => Err(does_not_serve(members, &error)),
    }
}

fn does_not_serve(members: &members::Cluster, error: &RestoreError) -> RestoreError {
    if members.fails_by_the_machine() {
        let message =
            format!("the server cannot run here, which says nothing of the backup: {error}");
        return RestoreError::new(Kind::Failed, message);
    }
    let message = format!("what was restored does not serve: {error}");
    RestoreError::new(Kind::Verification, message)
}

async fn answers(
    members: &members::Cluster,
    report: &Report,
    patience: Duration,
) -> Result<Booted, RestoreError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error| members::failed(&what, error)
    };
    let mut client = members.client_for(patience).await?;
    let read = client.get("\0", None).await;
    read.map_err(failed("read from the booted member"))?;
    let status = client.status().await;
    let status = status.map_err(failed("ask the booted member for its version"))?;
    let revision = report.hashkv.revision.0;
    let mut maintenance = client.maintenance_client();
    let hash = match maintenance.hash_kv(revision).await {
        // Early releases answer at the compact revision itself only when they are asked for the current one.
        Err(_) if report.hashkv.compact_revision.0 == revision => {
            let current = maintenance.hash_kv(0).await;
            let current = current.map_err(failed("ask the booted member for HashKV"))?;
            let at = current
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision);
            if at != revision {
                return Err(RestoreError::new(
                    Kind::Failed,
                    format!("the booted member is at revision {at} and not at {revision} any more"),
                ));
            }
            current
        }
        hash => hash.map_err(failed("ask the booted member for HashKV"))?,
    };
    Ok(Booted {
        hash: hash.hash(),
        compact_revision: hash.compact_version(),
        version: status.version().to_owned(),
    })
}
