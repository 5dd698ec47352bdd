//! The model: every row that the source ever had, by a watch that is not the agent's.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use etcd_client::{Client, EventType, WatchOptions};
use revkeep_schemas::hashkv::{HashKv, TombstoneRule};
use revkeep_schemas::kv::{KeyValue, key_of};
use revkeep_schemas::{Revision, Row, RowKey};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Rows by their place in history.
pub(crate) type Rows = BTreeMap<RowKey, Bytes>;

/// How long the model may take to hear of a revision.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// One history of a source.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) rows: Rows,
    rule: TombstoneRule,
}

impl History {
    /// The rows that are left at `at` where the source is compacted at `compacted`.
    pub(crate) fn at(&self, at: Revision, compacted: Revision) -> Rows {
        let mut seen = HashSet::new();
        let mut left = Rows::new();
        for (key, value) in self.rows.iter().rev().filter(|(key, _)| key.main <= at) {
            let name = key_of(value).unwrap_or_default();
            let stays = key.main > compacted
                || (seen.insert(name.to_vec()) && !key.tombstone)
                || (key.tombstone && key.main == compacted && self.rule == TombstoneRule::Skipped);
            if stays {
                left.insert(*key, value.clone());
            }
        }
        left
    }

    /// HashKV at a revision on a server that is compacted at `compacted`.
    pub(crate) fn hash(&self, at: Revision, compacted: Revision) -> u32 {
        let mut seen = HashSet::new();
        let mut counted = Vec::new();
        for (key, value) in self.rows.iter().rev().filter(|(key, _)| key.main <= at) {
            let newest = seen.insert(key_of(value).unwrap_or_default().to_vec());
            if key.main > compacted || (newest && !key.tombstone) {
                counted.push((*key, value.clone()));
            }
        }
        let mut hash = HashKv::new();
        for (key, value) in counted.iter().rev() {
            hash.update(&Row { key: *key, value });
        }
        hash.finish()
    }
}

/// Every row of a source, and those of the histories that it had before it was set back.
#[derive(Debug)]
pub(crate) struct Model {
    endpoints: Vec<String>,
    rows: Arc<Mutex<Rows>>,
    reached: Arc<watch::Sender<i64>>,
    watching: AbortHandle,
    rule: TombstoneRule,
    past: Vec<History>,
}

impl Model {
    /// Watches from the source's first revision on, through whichever member answers.
    pub(crate) fn of(endpoints: Vec<String>, rule: TombstoneRule) -> Self {
        let rows = Arc::new(Mutex::new(Rows::new()));
        let reached = Arc::new(watch::Sender::new(1));
        let watching = spawn_watch(&endpoints, &rows, &reached);
        Self {
            endpoints,
            rows,
            reached,
            watching,
            rule,
            past: Vec::new(),
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the source's history is now.
    pub(crate) fn now(&self) -> History {
        History {
            rows: self.rows().clone(),
            rule: self.rule,
        }
    }

    /// The histories that it had before.
    pub(crate) fn past(&self) -> &[History] {
        &self.past
    }

    /// Another vault begins: what was before is of no use for it.
    pub(crate) fn forget_the_past(&mut self) {
        self.past.clear();
    }

    /// The source was set back to a revision, and is down. The model had heard of everything.
    pub(crate) fn set_back(&mut self, to: i64) {
        self.watching.abort();
        self.past.push(self.now());
        self.rows().retain(|key, _| key.main.0 <= to);
        self.reached.send_replace(to);
        self.watching = spawn_watch(&self.endpoints, &self.rows, &self.reached);
    }

    /// The newest revision that it has.
    pub(crate) fn newest(&self) -> i64 {
        *self.reached.borrow()
    }

    /// Waits until it has the revision.
    pub(crate) async fn reaches(&self, revision: i64) -> Result<()> {
        let mut reached = self.reached.subscribe();
        let heard = tokio::time::timeout(HEARD_WITHIN, reached.wait_for(|at| *at >= revision));
        heard
            .await
            .with_context(|| format!("the model stands at {}, not {revision}", self.newest()))??;
        Ok(())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn spawn_watch(
    endpoints: &[String],
    rows: &Arc<Mutex<Rows>>,
    reached: &Arc<watch::Sender<i64>>,
) -> AbortHandle {
    let (rows, reached) = (Arc::clone(rows), Arc::clone(reached));
    tokio::spawn(watch_for_ever(endpoints.to_vec(), rows, reached)).abort_handle()
}

async fn watch_for_ever(
    endpoints: Vec<String>,
    rows: Arc<Mutex<Rows>>,
    reached: Arc<watch::Sender<i64>>,
) {
    let mut told = Instant::now();
    for turn in 0.. {
        let one = endpoints.get(turn % endpoints.len().max(1)).cloned();
        let ended = watch_once(one.into_iter().collect(), &rows, &reached).await;
        // A member that is away is usual; what is wrong shows as a model that does not reach a revision.
        if let Err(error) = ended
            && told.elapsed() > Duration::from_secs(20)
        {
            eprintln!("the model's watch: {error:#}");
            told = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn watch_once(
    endpoints: Vec<String>,
    rows: &Mutex<Rows>,
    reached: &watch::Sender<i64>,
) -> Result<()> {
    let mut last = *reached.borrow();
    let client = Client::connect(endpoints, None).await?;
    let options = WatchOptions::new()
        .with_all_keys()
        .with_start_revision(last + 1);
    let mut stream = client
        .watch_client()
        .max_decoding_message_size(usize::MAX)
        .watch("\0", Some(options))
        .await?;
    while let Some(message) = stream.message().await? {
        ensure!(
            !message.canceled(),
            "cancelled: {}",
            message.cancel_reason()
        );
        let mut sub = 0;
        for event in message.events() {
            let kv = event.kv().context("an event without a key")?;
            let main = kv.mod_revision();
            ensure!(
                main == last || main == last + 1,
                "revision {main} comes after {last}"
            );
            sub = if main == last { sub + 1 } else { 0 };
            last = main;
            let tombstone = event.event_type() == EventType::Delete;
            let value = if tombstone {
                KeyValue::encode_tombstone(kv.key())
            } else {
                let kv = KeyValue {
                    key: kv.key(),
                    create_revision: kv.create_revision(),
                    mod_revision: main,
                    version: kv.version(),
                    value: kv.value(),
                    lease: kv.lease(),
                };
                kv.encode()
            };
            let key = RowKey {
                main: Revision(main),
                sub,
                tombstone,
            };
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.insert(key, value.into());
        }
        reached.send_replace(last);
    }
    Ok(())
}
