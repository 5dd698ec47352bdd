//! Writes like those of a Kubernetes control plane.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};
use futures::{TryStreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::kubernetes::{RESOURCES, Resource};
use crate::error::{Kind, RestoreError};
use crate::members::failed;

/// The namespace of the accident.
pub(super) const VICTIM: &str = "shop";
const NAMESPACES: [&str; 4] = [VICTIM, "payments", "monitoring", "kube-system"];
const NODES: u32 = 20;
/// Requests under way at once.
const CLIENTS: usize = 32;
/// How long events live, in seconds, as in Kubernetes.
const EVENT_TTL: i64 = 3600;
/// How long one try of a write may take around an election, and the pause before the next.
const TRY: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(20);
/// How long writes may fail around an election.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the workload did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// The source's revision after it.
    pub(super) revision: i64,
    /// Acknowledged writes.
    pub(super) writes: u32,
    /// How long it took.
    pub(super) took: Duration,
}

/// Creates, updates and deletes objects, renews node heartbeats, and records events that expire.
pub(super) async fn run(client: &Client, objects: u32) -> Result<Done, RestoreError> {
    let began = Instant::now();
    let lease = client
        .lease_client()
        .grant(EVENT_TTL, None)
        .await
        .map_err(|error| failed("cannot grant a lease", error))?
        .id();
    let writes = AtomicU32::new(0);
    stream::iter((0..objects).map(Ok::<u32, RestoreError>))
        .try_for_each_concurrent(CLIENTS, |number| {
            let client = client.clone();
            let writes = &writes;
            async move {
                one(client, number, lease)
                    .await
                    .map_err(|error| failed("a write of the workload failed", error))?;
                writes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        })
        .await?;
    Ok(Done {
        revision: revision(client).await?,
        writes: writes.into_inner(),
        took: began.elapsed(),
    })
}

async fn one(mut client: Client, number: u32, lease: i64) -> Result<(), etcd_client::Error> {
    let mut random = StdRng::seed_from_u64(number.into());
    let (resource, namespace, name) = object(number);
    let key = resource.key(namespace, &name);
    match random.random_range(0..100) {
        // Created if it is not there, as the API server creates.
        0..55 => {
            let value = resource.object(namespace, &name, &mut random);
            let absent = Compare::mod_revision(key.as_str(), CompareOp::Equal, 0);
            let put = TxnOp::put(key.as_str(), value, None);
            client
                .txn(Txn::new().when([absent]).and_then([put]))
                .await?;
        }
        55..75 => {
            let (resource, namespace, name) = object(number / 2);
            let value = resource.object(namespace, &name, &mut random);
            client
                .put(resource.key(namespace, &name), value, None)
                .await?;
        }
        75..80 => {
            let (resource, namespace, name) = object(number / 3);
            client.delete(resource.key(namespace, &name), None).await?;
        }
        80..90 => heartbeat(&mut client, random.random_range(0..NODES)).await?,
        _ => {
            let event = format!("/registry/events/{namespace}/{name}.{number:x}");
            let options = PutOptions::new().with_lease(lease);
            client.put(event, "Scheduled", Some(options)).await?;
        }
    }
    Ok(())
}

/// The object that a number stands for.
fn object(number: u32) -> (Resource, &'static str, String) {
    let pick = |count: usize| usize::try_from(number).unwrap_or(0) % count;
    let [pods, ..] = RESOURCES;
    let [victim, ..] = NAMESPACES;
    let resource = RESOURCES
        .get(pick(RESOURCES.len()))
        .copied()
        .unwrap_or(pods);
    let namespace = NAMESPACES
        .get(pick(NAMESPACES.len()))
        .copied()
        .unwrap_or(victim);
    (resource, namespace, format!("{}-{number}", resource.plural))
}

async fn heartbeat(client: &mut Client, node: u32) -> Result<(), etcd_client::Error> {
    let key = format!("/registry/leases/kube-node-lease/node-{node}");
    client
        .put(key, chrono::Utc::now().to_rfc3339(), None)
        .await?;
    Ok(())
}

/// Deletes every object of the victim's namespace, as a wrong `kubectl delete namespace` ends up doing.
pub(super) async fn delete_namespace(client: &Client) -> Result<i64, RestoreError> {
    let mut deleted = 0;
    for resource in RESOURCES {
        let prefix = resource.key(VICTIM, "");
        let options = etcd_client::DeleteOptions::new().with_prefix();
        let answer = client
            .kv_client()
            .delete(prefix, Some(options))
            .await
            .map_err(|error| failed("cannot delete the namespace", error))?;
        deleted += answer.deleted();
    }
    Ok(deleted)
}

/// Renews heartbeats until `count` writes were acknowledged, however many fail on the way; returns the longest time
/// without one. Each client knows one member; after a failure the next one is asked.
pub(super) async fn go_on(clients: &[Client], count: u32) -> Result<Duration, RestoreError> {
    let mut members = clients.iter().cycle();
    let Some(mut client) = members.next() else {
        return Err(RestoreError::new(Kind::Failed, "no member runs"));
    };
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    let mut done = 0;
    while done < count {
        // A member that has lost its leader holds a write until it knows the next one, or for ever: better ask again.
        let mut member = client.clone();
        let write = heartbeat(&mut member, done % NODES);
        if let Ok(Ok(())) = tokio::time::timeout(TRY, write).await {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            done += 1;
            continue;
        }
        if last.elapsed() > PATIENCE {
            return Err(RestoreError::new(
                Kind::Failed,
                format!("no member took a write for {PATIENCE:?}"),
            ));
        }
        client = members.next().unwrap_or(client);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(longest)
}

/// The source's revision.
pub(super) async fn revision(client: &Client) -> Result<i64, RestoreError> {
    let options = GetOptions::new().with_count_only();
    let answer = client
        .kv_client()
        .get("/", Some(options))
        .await
        .map_err(|error| failed("cannot read the revision", error))?;
    answer
        .header()
        .map(etcd_client::ResponseHeader::revision)
        .ok_or_else(|| RestoreError::new(Kind::Failed, "an answer has no header"))
}
