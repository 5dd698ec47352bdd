//! One writer, many watchers.

use crate::arguments::WatchWish;
use crate::connections::Connections;
use crate::summary::summary;
use anyhow::{Context, Result};
use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::watch_client::WatchClient;
use revkeep_schemas::etcd_api::etcdserverpb::watch_request::RequestUnion;
use revkeep_schemas::etcd_api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

/// Counts events that reached watchers, and how long after its put was begun each did.
pub(crate) async fn run(connections: &Connections, wish: WatchWish) -> Result<Value> {
    let origin = Instant::now();
    let mut tasks = JoinSet::new();
    let (ready, mut made) = mpsc::channel(wish.watchers.max(1));
    for watcher in 0..wish.watchers {
        let mut client = WatchClient::new(connections.channel(watcher));
        let ready = ready.clone();
        tasks.spawn(async move {
            let (requests, receiver) = mpsc::channel(1);
            let create = WatchCreateRequest {
                key: Bytes::from_static(b"fan"),
                ..WatchCreateRequest::default()
            };
            let request_union = Some(RequestUnion::CreateRequest(create));
            requests.send(WatchRequest { request_union }).await?;
            let answers = client.watch(ReceiverStream::new(receiver)).await?;
            let mut answers = answers.into_inner();
            let (mut latencies, mut seen) = (Vec::with_capacity(wish.puts), 0);
            while seen < wish.puts {
                let answer = answers.message().await?.context("the stream ended")?;
                if answer.created {
                    ready.send(()).await?;
                }
                for event in answer.events {
                    let value = event.kv.context("an event without its key")?.value;
                    let sent = value.get(..8).context("a short value")?.try_into()?;
                    let sent = Duration::from_micros(u64::from_be_bytes(sent));
                    let late = origin.elapsed().saturating_sub(sent).as_micros();
                    latencies.push(u32::try_from(late).unwrap_or(u32::MAX));
                    seen += 1;
                }
            }
            anyhow::Ok(latencies)
        });
    }
    for _ in 0..wish.watchers {
        made.recv().await.context("a watcher failed")?;
    }
    let mut kv = connections.kv(0);
    let started = Instant::now();
    for _ in 0..wish.puts {
        let now = u64::try_from(origin.elapsed().as_micros())?.to_be_bytes();
        let mut value = now.to_vec();
        value.resize(wish.value_bytes.max(8), b'v');
        kv.put(PutRequest {
            key: Bytes::from_static(b"fan"),
            value: value.into(),
            ..PutRequest::default()
        })
        .await?;
    }
    let mut latencies = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        latencies.extend(outcome??);
    }
    let answered = latencies.len() as u64;
    Ok(summary(latencies, started.elapsed(), 0, answered))
}
