//! Watchers: some of everything, some of one key, some slow; each goes on where it was cut off.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_schemas::etcd_api::{
    etcdserverpb::{
        WatchCreateRequest, WatchRequest, WatchResponse, watch_client::WatchClient, watch_request,
    },
    mvccpb::Event,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{record::Watched, world::StoreWorld};

/// A stream that is silent for so long is given up: a watcher is told every two seconds how far it is.
const SILENCE: Duration = Duration::from_secs(7);

/// One watcher.
pub struct Watcher {
    world: Arc<StoreWorld>,
    name: String,
    key: Option<Vec<u8>>,
    /// How long it rests between two answers, at most.
    rest: Duration,
    random: StdRng,
    next: i64,
}

impl Watcher {
    pub fn new(world: Arc<StoreWorld>, number: usize) -> Self {
        let name = format!("watcher {number}");
        let mut random = StdRng::seed_from_u64(world.seed_of(&name));
        let slow = number % 3 == 2;
        Self {
            key: (number % 2 == 1).then(|| format!("k{}", random.random_range(0..8)).into_bytes()),
            rest: Duration::from_millis(if slow { 1_000 } else { 0 }),
            world,
            name,
            random,
            next: 1,
        }
    }

    /// Watches until the run is over.
    pub async fn work(mut self) {
        while !self.world.is_over() {
            let names = self.world.names();
            let member = names[self.random.random_range(0..names.len())].clone();
            // However a stream ends, the next goes on behind it.
            let _ = self.watch(&member).await;
            let pause = self.random.random_range(10..300);
            sleep(Duration::from_millis(pause)).await;
            if self.random.random_bool(0.05) && !self.world.base.is_quiet() {
                self.next = self.random.random_range(1..=self.next);
            }
        }
    }

    async fn watch(&mut self, member: &str) -> Result<(), Status> {
        let (requests, receiver) = mpsc::channel(1);
        let (key, range_end) = match &self.key {
            Some(key) => (key.clone().into(), "".into()),
            None => ("\0".into(), "\0".into()),
        };
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: self.next,
            prev_kv: true,
            progress_notify: true,
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest {
            request_union: Some(watch_request::RequestUnion::CreateRequest(create)),
        };
        let sent = requests.send(create).await;
        sent.map_err(|_| Status::cancelled("the stream is gone"))?;
        let mut client =
            WatchClient::new(self.world.channel(member)).max_decoding_message_size(64 << 20);
        let opened = timeout(SILENCE, client.watch(ReceiverStream::new(receiver))).await;
        let opened = opened.map_err(|_| Status::deadline_exceeded("no stream"))?;
        let mut answers = opened?.into_inner();
        let mut watched = Watched {
            watcher: self.name.clone(),
            member: member.to_owned(),
            key: self.key.clone(),
            from: self.next,
            // The first revision has no events.
            upto: (self.next - 1).max(1),
            events: Vec::new(),
        };
        let number = {
            let mut record = self.world.record();
            record.watched.push(watched.clone());
            record.watched.len() - 1
        };
        loop {
            let answer = timeout(SILENCE, answers.message()).await;
            let Ok(Ok(Some(answer))) = answer else {
                return Ok(());
            };
            let goes_on = self.take(&answer, &mut watched);
            self.world.record().watched[number] = watched.clone();
            self.next = self.next.max(watched.upto + 1);
            if !goes_on || self.world.is_over() {
                return Ok(());
            }
            if !self.rest.is_zero() && !self.world.base.is_quiet() {
                sleep(self.random.random_range(Duration::ZERO..self.rest)).await;
            }
        }
    }

    /// Notes an answer; whether the stream goes on.
    fn take(&mut self, answer: &WatchResponse, watched: &mut Watched) -> bool {
        let told = answer.header.map_or(0, |header| header.revision);
        if answer.canceled {
            let compacted = answer.compact_revision;
            // The first revision has no events, but may be asked for.
            let wanted = if watched.upto == 1 {
                watched.from
            } else {
                watched.upto + 1
            };
            if compacted > wanted {
                self.next = compacted;
            } else if compacted > 0 {
                self.fail(&format!(
                    "was cancelled at compact revision {compacted} and had everything up to {}",
                    watched.upto
                ));
            }
            return false;
        }
        if answer.created {
            return true;
        }
        if answer.events.is_empty() {
            watched.upto = watched.upto.max(told);
            return true;
        }
        let mut rest = answer.events.as_slice();
        while let Some(revision) = rest.first().map(revision_of) {
            let len = rest
                .iter()
                .take_while(|event| revision_of(event) == revision)
                .count();
            let (events, behind) = rest.split_at(len);
            rest = behind;
            let expected = watched.upto + 1;
            if revision < expected || (self.key.is_none() && revision != expected) {
                self.fail(&format!(
                    "from {} on {} got revision {revision} after everything up to {}",
                    watched.from, watched.member, watched.upto
                ));
                return false;
            }
            watched.upto = revision;
            watched.events.extend_from_slice(events);
            if self.key.is_none() {
                let who = format!("{} on {}", self.name, watched.member);
                // What was there before may have been compacted away: the judge looks at it for itself.
                let events = events.iter().cloned().map(|mut event| {
                    event.prev_kv = None;
                    event
                });
                let events = events.collect();
                self.world.record().saw_events(&who, revision, events);
            }
        }
        true
    }

    fn fail(&self, what: &str) {
        let failure = format!("{:?}: {} {what}", self.world.now(), self.name);
        self.world.record().failures.push(failure);
    }
}

/// The revision of an event.
pub fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
