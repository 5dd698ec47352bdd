//! Fills the store.

use crate::arguments::FillWish;
use crate::connections::{Connections, key};
use anyhow::Result;
use revkeep_schemas::etcd_api::etcdserverpb::request_op::Request;
use revkeep_schemas::etcd_api::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

/// Puts each key once.
pub(crate) async fn run(connections: &Connections, wish: FillWish) -> Result<Value> {
    let next = Arc::new(AtomicU64::new(0));
    let value = bytes::Bytes::from(vec![b'v'; wish.value_bytes]);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..wish.clients {
        let (mut kv, next, value) = (connections.kv(client), next.clone(), value.clone());
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(wish.batch, Ordering::Relaxed);
                if first >= wish.keys {
                    return anyhow::Ok(());
                }
                let puts = (first..wish.keys.min(first + wish.batch)).map(|number| RequestOp {
                    request: Some(Request::RequestPut(PutRequest {
                        key: key(number),
                        value: value.clone(),
                        ..PutRequest::default()
                    })),
                });
                let txn = TxnRequest {
                    success: puts.collect(),
                    ..TxnRequest::default()
                };
                kv.txn(txn).await?;
            }
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome??;
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({"keys": wish.keys, "seconds": seconds}))
}
