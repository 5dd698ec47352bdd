//! Comparing the members once everything works again.

use std::{sync::Arc, time::Duration};

use revkeep_schemas::etcd_api::{
    etcdserverpb::{
        HashKvRequest, MemberListRequest, MemberPromoteRequest, RangeRequest,
        cluster_client::ClusterClient, kv_client::KvClient, maintenance_client::MaintenanceClient,
    },
    mvccpb::KeyValue,
};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{client::all, world::StoreWorld};

/// What all members hold in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    pub revision: i64,
    pub compact_revision: i64,
    pub hash: u32,
    pub members: usize,
    pub rows: Vec<KeyValue>,
}

/// Looks at all members until they are equal and every watcher has got as far, then ends the run.
pub async fn audit(world: Arc<StoreWorld>) {
    while !world.base.is_quiet() {
        sleep(Duration::from_millis(100)).await;
    }
    loop {
        sleep(Duration::from_millis(500)).await;
        let compared = timeout(Duration::from_secs(10), compare(&world)).await;
        let why = match compared {
            Ok(Ok(Ok(audit))) => {
                let complete = world.record().complete.max(1);
                if complete >= audit.revision {
                    world.set_audit(audit);
                    world.end();
                    return;
                }
                format!(
                    "watchers have got revision {complete} of {}",
                    audit.revision
                )
            }
            Ok(Ok(Err(difference))) => difference,
            Ok(Err(status)) => format!("a member cannot be asked: {status}"),
            Err(_) => "a member does not answer".to_owned(),
        };
        world.record().unsettled = why;
    }
}

/// All members' state if it is the same, or how two differ.
async fn compare(world: &StoreWorld) -> Result<Result<Audit, String>, Status> {
    let mut cluster = ClusterClient::new(world.channel("m0"));
    let request = MemberListRequest { linearizable: true };
    let listed = cluster.member_list(request).await?.into_inner().members;
    if let Some(learner) = listed.iter().find(|listed| listed.is_learner) {
        // It would tell nobody its hash.
        let request = MemberPromoteRequest { id: learner.id };
        cluster.member_promote(request).await?;
        return Ok(Err("there is a learner".to_owned()));
    }
    let mut first: Option<(String, Audit)> = None;
    let names = world.names();
    for seat in world.base.seats.iter().take(names.len()) {
        let is_founder = world.is_founder(seat.index);
        if !is_founder
            && !listed
                .iter()
                .any(|listed| listed.peer_ur_ls.contains(&seat.peer_url))
        {
            continue;
        }
        let found = look(world, &seat.name, listed.len())
            .await
            .map_err(|status| {
                Status::unavailable(format!("{}: {}", seat.name, status.message()))
            })?;
        match &first {
            Some((name, other)) if *other != found => {
                return Ok(Err(format!(
                    "{name} has revision {} (compacted {}, hash {:x}), {} has {} (compacted {}, hash {:x})",
                    other.revision,
                    other.compact_revision,
                    other.hash,
                    seat.name,
                    found.revision,
                    found.compact_revision,
                    found.hash,
                )));
            }
            Some(_) => {}
            None => first = Some((seat.name.clone(), found)),
        }
    }
    Ok(first
        .map(|(_, audit)| audit)
        .ok_or_else(|| "no member".to_owned()))
}

async fn look(world: &StoreWorld, member: &str, members: usize) -> Result<Audit, Status> {
    let mut maintenance = MaintenanceClient::new(world.channel(member));
    let hashed = maintenance.hash_kv(HashKvRequest::default()).await?;
    let hashed = hashed.into_inner();
    let mut kv = KvClient::new(world.channel(member));
    let request = RangeRequest {
        serializable: true,
        ..all()
    };
    let range = kv.range(request).await?.into_inner();
    Ok(Audit {
        revision: range.header.map_or(0, |header| header.revision),
        compact_revision: hashed.compact_revision,
        hash: hashed.hash,
        members,
        rows: range.kvs,
    })
}
