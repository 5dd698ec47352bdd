//! Reads.

use crate::arguments::RangeWish;
use crate::connections::{Connections, Numbers, key};
use crate::load::load;
use anyhow::Result;
use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::RangeRequest;
use serde_json::Value;

/// Reads random keys, or as many keys from a random one on.
pub(crate) async fn run(connections: &Connections, wish: RangeWish) -> Result<Value> {
    load(wish.clients, wish.seconds, |client| {
        let kv = connections.kv(client);
        let mut numbers = Numbers::of(client);
        move || {
            let ask = RangeRequest {
                key: key(numbers.below(wish.keys)),
                range_end: if wish.limit > 1 {
                    Bytes::from_static(b"bench0")
                } else {
                    Bytes::new()
                },
                limit: wish.limit,
                serializable: wish.serializable,
                ..RangeRequest::default()
            };
            let mut kv = kv.clone();
            async move { kv.range(ask).await.map(drop) }
        }
    })
    .await
}
