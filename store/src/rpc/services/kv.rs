//! The service KV.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

use super::unary;
use crate::error::StoreError;
use crate::rpc::engine::Engine;
use crate::rpc::identity::Credentials;

/// About how many bytes one piece of a streamed range carries.
const PIECE_BYTES: usize = 1 << 20;

/// The service KV.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct KvService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

type Pieces = Pin<Box<dyn Stream<Item = Result<api::RangeStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Kv for KvService {
    type RangeStreamStream = Pieces;

    async fn range_stream(
        &self,
        request: Request<api::RangeRequest>,
    ) -> Result<Response<Pieces>, Status> {
        let (credentials, message) = Credentials::split(request);
        let response = self.engine.range(&credentials, message).await?;
        Ok(Response::new(Box::pin(stream::iter(pieces(response)))))
    }

    async fn range(
        &self,
        request: Request<api::RangeRequest>,
    ) -> Result<Response<api::RangeResponse>, Status> {
        let engine = &*self.engine;
        // A learner answers from what it has, and nothing else.
        if engine.is_learner() && !request.get_ref().serializable {
            return Err(StoreError::NotSupportedForLearner.into());
        }
        let (credentials, message) = Credentials::split(request);
        Ok(Response::new(engine.range(&credentials, message).await?))
    }

    async fn put(
        &self,
        request: Request<api::PutRequest>,
    ) -> Result<Response<api::PutResponse>, Status> {
        let (credentials, message) = Credentials::split(request);
        Ok(Response::new(self.engine.put(&credentials, message).await?))
    }

    async fn delete_range(
        &self,
        request: Request<api::DeleteRangeRequest>,
    ) -> Result<Response<api::DeleteRangeResponse>, Status> {
        let (credentials, message) = Credentials::split(request);
        let response = self.engine.delete_range(&credentials, message).await?;
        Ok(Response::new(response))
    }

    async fn txn(
        &self,
        request: Request<api::TxnRequest>,
    ) -> Result<Response<api::TxnResponse>, Status> {
        let (credentials, message) = Credentials::split(request);
        let response = Box::pin(self.engine.txn(&credentials, message)).await?;
        Ok(Response::new(response))
    }

    unary! {
        compact(api::CompactionRequest) -> api::CompactionResponse = |engine, caller, message| engine.compact(caller, message).await;
    }
}

/// Cuts an answer into pieces. Only the last carries what is not keys.
fn pieces(
    mut response: api::RangeResponse,
) -> impl Iterator<Item = Result<api::RangeStreamResponse, Status>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut bytes = 0;
    for kv in std::mem::take(&mut response.kvs) {
        bytes += kv.key.len() + kv.value.len();
        piece.push(kv);
        if bytes >= PIECE_BYTES {
            pieces.push(api::RangeResponse {
                kvs: std::mem::take(&mut piece),
                ..api::RangeResponse::default()
            });
            bytes = 0;
        }
    }
    response.kvs = piece;
    pieces.push(response);
    pieces.into_iter().map(|piece| {
        Ok(api::RangeStreamResponse {
            range_response: Some(piece),
        })
    })
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::etcd_api::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn the_pieces_of_a_range_make_the_range() {
        let kvs: Vec<KeyValue> = (0..5)
            .map(|number| KeyValue {
                key: vec![number].into(),
                value: vec![0; PIECE_BYTES / 2].into(),
                ..KeyValue::default()
            })
            .collect();
        let whole = api::RangeResponse {
            kvs: kvs.clone(),
            count: 9,
            more: true,
            ..api::RangeResponse::default()
        };
        let pieces: Vec<_> = pieces(whole)
            .map(|piece| piece.unwrap().range_response.unwrap())
            .collect();
        assert_eq!(pieces.len(), 3);
        let (last, first) = pieces.split_last().unwrap();
        assert!(first.iter().all(|piece| piece.count == 0 && !piece.more));
        assert_eq!((last.count, last.more), (9, true));
        let joined: Vec<_> = pieces.iter().flat_map(|piece| piece.kvs.clone()).collect();
        assert_eq!(joined, kvs);
    }
}
