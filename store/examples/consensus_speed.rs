//! Measures what consensus alone costs: members in one process, over TCP on loopback, with their logs on a real disk
//! and every append synced. The state machine only counts.
//!
//! `consensus_speed [MEMBERS] [CLIENTS] [SECONDS] [VALUE_BYTES] [PROPOSER]`: 1, 100, 5 and 256 unless given; PROPOSER is
//! `leader` (the default) or `follower`. Prints commands per second, latencies, and the CPU time of the whole process
//! per command.

use std::{
    env, fs,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use parking_lot::Mutex;
use revkeep_schemas::{
    etcd_api::etcdserverpb::PutRequest, member::ids, store_api::proposal::Command,
};
use revkeep_store::{
    StoreError,
    backend::{FileDisk, Position},
    executor::Executor,
    raft::{
        EntryBody, PeerMember, RaftConfig, RaftEnvironment, RaftHandle, SnapshotFile, StateMachine,
        TcpDial,
    },
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::transport::{Server, server::TcpIncoming};

/// Counts commands.
#[derive(Default)]
struct Counter(Mutex<(Position, u64, Option<Bytes>)>);

impl StateMachine for Counter {
    type Outcome = u64;

    fn position(&self) -> Position {
        self.0.lock().0
    }

    fn durable(&self) -> Position {
        self.position()
    }

    fn raft_state(&self) -> Option<Bytes> {
        self.0.lock().2.clone()
    }

    fn apply(&self, at: Position, body: EntryBody<'_>) -> Result<Vec<u64>, StoreError> {
        let mut state = self.0.lock();
        state.0 = at;
        Ok(match body {
            EntryBody::Commands(commands) => commands
                .iter()
                .map(|_| {
                    state.1 += 1;
                    state.1
                })
                .collect(),
            EntryBody::Membership { raft_bytes, .. } => {
                state.2 = Some(raft_bytes.clone());
                Vec::new()
            }
            EntryBody::Blank => Vec::new(),
        })
    }

    fn flush(&self) -> Result<Position, StoreError> {
        Ok(self.position())
    }

    fn snapshot(&self) -> Result<SnapshotFile, StoreError> {
        Err(StoreError::internal("a counter has no snapshot"))
    }

    fn install(&self, _file: &SnapshotFile) -> Result<(), StoreError> {
        Err(StoreError::internal("a counter has no snapshot"))
    }
}

/// An argument, or its default.
fn argument<T: std::str::FromStr>(position: usize, default: T) -> T {
    let text = env::args().nth(position);
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// User and system time of this process (Linux, proc_pid_stat(5), in ticks of 10 ms).
fn cpu_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().context("/proc/self/stat")?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next().context("utime")?.parse()?;
    let system: u64 = fields.next().context("stime")?.parse()?;
    Ok(Duration::from_millis((user + system) * 10))
}

#[tokio::main]
async fn main() -> Result<()> {
    let members: usize = argument(1, 1);
    let clients: usize = argument(2, 100);
    let seconds: u64 = argument(3, 5);
    let value: usize = argument(4, 256);
    let at_follower = env::args().nth(5).as_deref() == Some("follower");
    let folder = tempfile::tempdir()?;

    let mut listeners = Vec::new();
    let mut founders = Vec::new();
    for number in 0..members {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        founders.push(PeerMember {
            id: ids::member_id(std::slice::from_ref(&url), "speed"),
            name: format!("m{number}"),
            peer_urls: vec![url],
            learner: false,
        });
        listeners.push(listener);
    }
    let all: Vec<u64> = founders.iter().map(|member| member.id).collect();
    let cluster_id = ids::cluster_id(&all);
    let mut handles: Vec<RaftHandle<u64>> = Vec::new();
    for (member, listener) in founders.iter().zip(listeners) {
        let own = folder.path().join(&member.name);
        let environment = RaftEnvironment {
            disk: Arc::new(FileDisk::open(&own)?),
            dial: Arc::new(TcpDial),
            executor: Executor::Threads,
        };
        let config = RaftConfig::new(cluster_id, member.id, own.join("scratch"));
        let machine = Arc::new(Counter::default());
        let handle = RaftHandle::start(config, &founders, machine, environment).await?;
        tokio::spawn(
            Server::builder()
                .add_service(handle.peer_service())
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        handles.push(handle);
    }
    let first = handles.first().context("no member")?;
    let mut leadership = first.leadership();
    let leader = leadership
        .wait_for(|now| now.leader.is_some())
        .await?
        .leader;
    let chosen = handles.iter().find(|handle| {
        let leads = Some(handle.status().member_id) == leader;
        leads != at_follower
    });
    let proposer = chosen
        .context("there is no follower to propose at")?
        .clone();

    let stop = Arc::new(AtomicBool::new(false));
    let cpu_before = cpu_time()?;
    let start = Instant::now();
    let mut work = JoinSet::new();
    for client in 0..clients {
        let (proposer, stop) = (proposer.clone(), Arc::clone(&stop));
        work.spawn(async move {
            let mut latencies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let put = PutRequest {
                    key: format!("key/{client:06}/{:08}", latencies.len()).into(),
                    value: vec![b'v'; value].into(),
                    ..PutRequest::default()
                };
                let sent = Instant::now();
                proposer.propose(Command::Put(put), "", 0).await?;
                latencies.push(sent.elapsed());
            }
            Ok::<_, StoreError>(latencies)
        });
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    while let Some(done) = work.join_next().await {
        latencies.extend(done??);
    }
    let took = start.elapsed();
    let cpu = cpu_time()?.saturating_sub(cpu_before);
    ensure!(!latencies.is_empty(), "nothing was acknowledged");
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 1000).copied();
    let count = u32::try_from(latencies.len())?;
    let reads = measure_reads(&proposer, clients).await?;
    writeln!(
        std::io::stdout().lock(),
        "{members} members, {clients} clients, {value} B, at the {}: {:.0}/s, p50 {:?}, p99 {:?}, CPU {:.1} us a command; reads {reads:.0}/s; {} entries",
        if at_follower { "follower" } else { "leader" },
        f64::from(count) / took.as_secs_f64(),
        at(500).unwrap_or_default(),
        at(990).unwrap_or_default(),
        cpu.as_secs_f64() * 1e6 / f64::from(count),
        proposer.status().last,
    )?;
    for handle in handles {
        handle.shutdown().await;
    }
    Ok(())
}

/// Linearizable reads per second.
async fn measure_reads(at: &RaftHandle<u64>, clients: usize) -> Result<f64> {
    let start = Instant::now();
    let mut work = JoinSet::new();
    for _ in 0..clients {
        let at = at.clone();
        work.spawn(async move {
            let mut count = 0_u32;
            while start.elapsed() < Duration::from_secs(1) {
                at.read_index().await?;
                count += 1;
            }
            Ok::<_, StoreError>(count)
        });
    }
    let mut all = 0;
    while let Some(done) = work.join_next().await {
        all += done??;
    }
    Ok(f64::from(all) / start.elapsed().as_secs_f64())
}
