//! A stream of watches.

use super::calls::LARGEST_ANSWER;
use super::{Case, Result, WatchCreateRequest};
use anyhow::{Context, bail};
use revkeep_schemas::etcd_api::etcdserverpb::watch_client::WatchClient;
use revkeep_schemas::etcd_api::etcdserverpb::watch_request::RequestUnion;
use revkeep_schemas::etcd_api::etcdserverpb::{
    WatchCancelRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// What comes, comes within this even on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// One stream, with as many watches as a case makes.
#[derive(Debug)]
pub(crate) struct WatchStream {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl WatchStream {
    /// Opens a stream with a first request; etcd says nothing, not even that there is a stream, before it answers one.
    pub(crate) async fn open(case: &Case, first: RequestUnion) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(64);
        let request_union = Some(first);
        requests.send(WatchRequest { request_union }).await?;
        let mut client = WatchClient::with_interceptor(case.channel.clone(), case.with.clone())
            .max_decoding_message_size(LARGEST_ANSWER);
        let answers = tokio::time::timeout(SOON, client.watch(ReceiverStream::new(receiver)));
        let answers = answers
            .await
            .context("the watch was not opened in time")??;
        Ok(Self {
            requests,
            answers: answers.into_inner(),
        })
    }

    /// Opens a stream with one watch, and checks that it was made.
    pub(crate) async fn watching(case: &Case, watch: WatchCreateRequest) -> Result<Self> {
        let mut stream = Self::open(case, RequestUnion::CreateRequest(watch)).await?;
        stream.made().await?;
        Ok(stream)
    }

    /// Makes a watch and returns its id. Only where no other answer can come first.
    pub(crate) async fn create(&mut self, watch: WatchCreateRequest) -> Result<i64> {
        self.ask_create(watch).await?;
        self.made().await
    }

    async fn made(&mut self) -> Result<i64> {
        let answer = self.next().await?;
        if !answer.created || answer.canceled {
            bail!("the watch was not made: {answer:?}");
        }
        Ok(answer.watch_id)
    }

    /// Asks for a watch.
    pub(crate) async fn ask_create(&mut self, watch: WatchCreateRequest) -> Result<()> {
        self.ask(RequestUnion::CreateRequest(watch)).await
    }

    /// Asks for the end of a watch.
    pub(crate) async fn ask_cancel(&mut self, watch_id: i64) -> Result<()> {
        self.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
            .await
    }

    /// Asks how far the stream is.
    pub(crate) async fn ask_progress(&mut self) -> Result<()> {
        self.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await
    }

    /// Sends a request that asks for nothing.
    pub(crate) async fn ask_nothing(&mut self) -> Result<()> {
        self.send(WatchRequest::default()).await
    }

    async fn ask(&mut self, union: RequestUnion) -> Result<()> {
        let request_union = Some(union);
        self.send(WatchRequest { request_union }).await
    }

    async fn send(&mut self, request: WatchRequest) -> Result<()> {
        let sent = self.requests.send(request).await;
        sent.context("the stream has ended")
    }

    /// The next answer.
    pub(crate) async fn next(&mut self) -> Result<WatchResponse> {
        let answer = tokio::time::timeout(SOON, self.answers.message());
        let answer = answer.await.context("the watch said nothing in time")?;
        answer?.context("the server ended the stream")
    }

    /// Checks that nothing comes. What was sent before is then seen to have been sent to nobody.
    pub(crate) async fn silent(&mut self) -> Result<()> {
        match tokio::time::timeout(Duration::from_millis(300), self.answers.message()).await {
            Err(_) => Ok(()),
            Ok(answer) => bail!("expected nothing, got {answer:?}"),
        }
    }
}
