//! The service Watch.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::watch_request::RequestUnion;
use revkeep_schemas::etcd_api::etcdserverpb::watch_server::Watch;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::Access;
use crate::error::{Result as StoreResult, StoreError};
use crate::rpc::engine::Engine;
use crate::rpc::grpc::rephrase;
use crate::rpc::identity::Credentials;
use crate::rpc::leaderless::Leaderless;
use crate::watch::{WatchReceiver, WatchStream};

/// The service Watch.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct WatchService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<api::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Answers;

    async fn watch(
        &self,
        request: Request<Streaming<api::WatchRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (stream, receiver) = self.engine.shared().watchers.stream();
        let credentials = Credentials::of(&request);
        let leaderless = Leaderless::of(&self.engine, &request);
        let (failures, failed) = mpsc::channel(1);
        let requests = Requests {
            engine: Arc::clone(&self.engine),
            credentials,
            stream,
        };
        let reading = tokio::spawn(requests.read(request.into_inner(), failures));
        let state = Open {
            engine: Arc::clone(&self.engine),
            receiver,
            leaderless,
            failed,
            ended: false,
            _reading: AbortOnDropHandle::new(reading),
        };
        let answers = stream::unfold(state, async |mut state| {
            let answer = state.next().await?;
            Some((answer, state))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The side of a stream that the client writes.
struct Requests {
    engine: Arc<Engine>,
    credentials: Credentials,
    stream: WatchStream,
}

impl Requests {
    /// Takes the client's wishes until it goes away. A client that only stops asking keeps its watchers.
    async fn read(
        self,
        mut requests: Streaming<api::WatchRequest>,
        failures: mpsc::Sender<Status>,
    ) {
        loop {
            match requests.message().await {
                Ok(Some(request)) => self.carry_out(request.request_union).await,
                Ok(None) => return failures.closed().await,
                Err(status) => {
                    // With nobody to tell, the stream is over already.
                    let _ = failures.send(rephrase(status)).await;
                    return;
                }
            }
        }
    }

    async fn carry_out(&self, request: Option<RequestUnion>) {
        match request {
            Some(RequestUnion::CreateRequest(mut request)) => {
                if request.key.is_empty() {
                    // The smallest key.
                    request.key = "\0".into();
                }
                if request.start_revision >= 0
                    && let Err(error) = self.permitted(&request).await
                {
                    let reason = refusal(&error);
                    self.stream.refuse(&reason).await;
                    return;
                }
                self.stream.create(request).await;
            }
            Some(RequestUnion::CancelRequest(request)) => {
                self.stream.cancel(request.watch_id).await;
            }
            Some(RequestUnion::ProgressRequest(_)) => self.stream.request_progress(),
            None => {}
        }
    }

    async fn permitted(&self, request: &api::WatchCreateRequest) -> StoreResult<()> {
        let caller = self.engine.caller_of(&self.credentials).await?;
        let who = caller.unwrap_or_default();
        let auth = &self.engine.shared().auth;
        auth.check(&who, Access::Read, &request.key, &request.range_end)
    }
}

/// The reason in the answer to a watcher that may not be: Go's print of the gRPC error (etcd,
/// `server/etcdserver/api/v3rpc/watch.go`).
fn refusal(error: &StoreError) -> String {
    let (code, error) = match error {
        StoreError::InvalidAuthToken => ("Unauthenticated", error.clone()),
        StoreError::AuthOldRevision | StoreError::UserEmpty => ("InvalidArgument", error.clone()),
        _ => ("PermissionDenied", StoreError::PermissionDenied),
    };
    format!("rpc error: code = {code} desc = {error}")
}

/// The side of a stream that the client reads.
struct Open {
    engine: Arc<Engine>,
    receiver: WatchReceiver,
    leaderless: Leaderless,
    failed: mpsc::Receiver<Status>,
    ended: bool,
    _reading: AbortOnDropHandle<()>,
}

impl Open {
    async fn next(&mut self) -> Option<Result<api::WatchResponse, Status>> {
        if self.ended {
            return None;
        }
        let answer = tokio::select! {
            biased;
            status = self.leaderless.ended() => Err(status),
            Some(status) = self.failed.recv() => Err(status),
            answer = self.receiver.recv() => {
                match answer? {
                    Err(error) => Err(error.into()),
                    Ok(mut answer) => {
                        let header = self.engine.header_without_revision();
                        let revision = answer.header.map_or(0, |header| header.revision);
                        answer.header = Some(api::ResponseHeader { revision, ..header });
                        return Some(Ok(answer));
                    }
                }
            }
        };
        self.ended = true;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_go_prints_them() {
        assert_eq!(
            refusal(&StoreError::InvalidAuthToken),
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        );
        assert_eq!(
            refusal(&StoreError::Stopped),
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        );
    }
}
