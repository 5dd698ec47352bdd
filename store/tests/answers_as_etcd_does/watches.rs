//! The watches of one server, each on a stream of its own.

use anyhow::{Context, Result};
use revkeep_schemas::etcd_api::etcdserverpb::watch_client::WatchClient;
use revkeep_schemas::etcd_api::etcdserverpb::watch_request::RequestUnion;
use revkeep_schemas::etcd_api::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// The watches, by the number that the operations give them.
#[derive(Debug)]
pub(crate) struct Watches {
    channel: Channel,
    open: BTreeMap<usize, Open>,
}

#[derive(Debug)]
struct Open {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    start: i64,
    ended: bool,
}

impl Watches {
    /// None yet.
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            channel,
            open: BTreeMap::new(),
        }
    }

    /// Opens one, and tells how that went.
    pub(crate) async fn open(&mut self, number: usize, ask: WatchCreateRequest) -> Result<String> {
        let (requests, receiver) = mpsc::channel(4);
        let start = ask.start_revision;
        requests
            .send(request(RequestUnion::CreateRequest(ask)))
            .await?;
        let mut client = WatchClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        let mut answers = client
            .watch(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        let created = answers.message().await?.context("the stream ended")?;
        let open = Open {
            requests,
            answers,
            start,
            ended: created.canceled,
        };
        self.open.insert(number, open);
        Ok(format!(
            "{} {} {} {:?}",
            created.watch_id, created.created, created.canceled, created.cancel_reason
        ))
    }

    /// Ends one.
    pub(crate) fn close(&mut self, number: usize) {
        self.open.remove(&number);
    }

    /// Everything that each watch tells up to a revision.
    pub(crate) async fn catch_up(&mut self, revision: i64) -> Result<String> {
        let mut told = String::new();
        for (number, watch) in &mut self.open {
            // One that begins later is told of no progress.
            if !watch.ended && watch.start <= revision {
                writeln!(told, "{number}: {}", watch.catch_up(revision).await?)?;
            }
        }
        Ok(told)
    }
}

impl Open {
    async fn catch_up(&mut self, revision: i64) -> Result<String> {
        let mut events = Vec::new();
        loop {
            self.requests
                .send(request(RequestUnion::ProgressRequest(
                    WatchProgressRequest {},
                )))
                .await?;
            // Asked while it still catches up, etcd says nothing.
            let patience = Duration::from_millis(300);
            while let Ok(answer) = tokio::time::timeout(patience, self.answers.message()).await {
                let answer = answer?.context("the stream ended")?;
                if answer.canceled {
                    self.ended = true;
                    return Ok(format!(
                        "{events:?}, compacted at {}",
                        answer.compact_revision
                    ));
                }
                if !answer.events.is_empty() {
                    events.extend(answer.events);
                } else if answer
                    .header
                    .is_some_and(|header| header.revision >= revision)
                {
                    return Ok(format!("{events:?}"));
                }
            }
        }
    }
}

fn request(union: RequestUnion) -> WatchRequest {
    WatchRequest {
        request_union: Some(union),
    }
}
