//! Puts.

use crate::arguments::PutWish;
use crate::connections::{Connections, Numbers, key};
use crate::load::load;
use anyhow::Result;
use revkeep_schemas::etcd_api::etcdserverpb::PutRequest;
use serde_json::Value;

/// Puts random keys.
pub(crate) async fn run(connections: &Connections, wish: PutWish) -> Result<Value> {
    let value = bytes::Bytes::from(vec![b'v'; wish.value_bytes]);
    load(wish.clients, wish.seconds, |client| {
        let kv = connections.kv(client);
        let mut numbers = Numbers::of(client);
        let value = value.clone();
        move || {
            let ask = PutRequest {
                key: key(numbers.below(wish.keys)),
                value: value.clone(),
                ..PutRequest::default()
            };
            let mut kv = kv.clone();
            async move { kv.put(ask).await.map(drop) }
        }
    })
    .await
}
