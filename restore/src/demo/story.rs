//! The steps of the demo, in order.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::narrator::Narrator;
use super::options::Options;
use super::proof::{Sight, agreed};
use super::workload::{self, VICTIM};
use crate::error::{Kind as ErrorKind, RestoreError};
use crate::members::{Cluster, Kind, Place, Process, find, initial_cluster, output, places, typed};

const STEPS: u32 = 8;
/// The cluster's name in the vault.
const CLUSTER: &str = "demo";
/// Writes after the accident.
const AFTERWARDS: u32 = 200;
/// How long the last revision may take to reach the vault.
const DURABLE: Duration = Duration::from_secs(60);
/// Copies of a file's bytes count as MiB.
const MIB: f64 = 1_048_576.0;

/// Plays the demo. Everything that it starts has ended, and its folder is gone, when this returns, also after a failure
/// or an interruption.
///
/// # Errors
/// The first step that failed; [`ErrorKind::Verification`] when the restored cluster differs.
pub async fn tell(
    options: &Options,
    mut cancelled: watch::Receiver<bool>,
) -> Result<(), RestoreError> {
    let folder = tempfile::Builder::new()
        .prefix("revkeep-demo-")
        .tempdir()
        .map_err(RestoreError::io("cannot make a temporary folder"))?;
    let mut stage = Stage::new(options, folder.path())?;
    let stop = cancelled.clone();
    let played = tokio::select! {
        // First, because to be interrupted is how a demo that was kept ends.
        biased;
        played = stage.play(options, stop) => played,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(RestoreError::new(
            ErrorKind::Interrupted,
            "interrupted; every process is ended and the folder removed",
        )),
    };
    let cleared = stage.clear().await;
    played.and(cleared)
}

/// Everything that runs or lies in the folder.
struct Stage {
    kind: Kind,
    programs: Option<PathBuf>,
    folder: PathBuf,
    revkeep: PathBuf,
    vault: String,
    narrator: Narrator,
    source: Option<Cluster>,
    agent: Option<Process>,
    restored: Option<Cluster>,
}

/// What was measured on the way.
struct Measured {
    writes_per_second: f64,
    failover: Duration,
    lag: Duration,
    restore: Duration,
    boot: Duration,
    revisions: i64,
    vault_bytes: u64,
}

impl Stage {
    fn new(options: &Options, folder: &Path) -> Result<Self, RestoreError> {
        let programs = options.programs().cloned();
        Ok(Self {
            kind: options.kind(),
            revkeep: find("revkeep", None)?,
            vault: format!("file://{}", folder.join("vault").display()),
            folder: folder.to_path_buf(),
            narrator: Narrator::new(STEPS),
            programs,
            source: None,
            agent: None,
            restored: None,
        })
    }

    async fn play(
        &mut self,
        options: &Options,
        mut cancelled: watch::Receiver<bool>,
    ) -> Result<(), RestoreError> {
        self.narrator.title(&format!(
            "revkeep demo: every revision of a cluster, kept, and one brought back. All of it in {}",
            self.folder.display()
        ));
        self.start_members().await?;
        self.start_agent()?;
        let (before, good, writes_per_second) = Box::pin(self.work(options.objects())).await?;
        self.accident(good).await?;
        let failover = self.lose_the_leader().await?;
        let (lag, last) = self.wait_until_durable().await?;
        let restored = places(&self.folder.join("restored"), 3)?;
        let restore = self.restore(good, &restored).await?;
        let boot = self.boot(good, before, restored).await?;
        let measured = Measured {
            writes_per_second,
            failover,
            lag,
            restore,
            boot,
            revisions: last,
            vault_bytes: size_of(&self.folder.join("vault")),
        };
        self.close(&measured, good, options.keep());
        if options.keep() {
            let _signal = cancelled.wait_for(|cancelled| *cancelled).await;
        }
        Ok(())
    }

    async fn start_members(&mut self) -> Result<(), RestoreError> {
        self.narrator
            .step(&format!("Three members of {}", self.kind.name()));
        let places = places(&self.folder.join("source"), 3)?;
        let mut cluster = Cluster::start(self.kind, self.programs.as_ref(), places).await?;
        let (leader, term) = cluster.wait_for_leader().await?;
        self.narrator
            .say(&format!("They serve at {}", cluster.endpoints()));
        self.narrator
            .say(&format!("{leader} was elected, in term {term}"));
        self.source = Some(cluster);
        Ok(())
    }

    fn start_agent(&mut self) -> Result<(), RestoreError> {
        self.narrator
            .step("An agent beside them, and a vault in a folder (it could be s3://bucket/prefix)");
        let endpoints = self.source()?.endpoints();
        let arguments = [
            "run",
            "--endpoints",
            &endpoints,
            "--vault",
            &self.vault,
            "--cluster",
            CLUSTER,
            "--flush-interval",
            "200ms",
        ];
        self.say_command("revkeep-agent", &arguments);
        let program = find("revkeep-agent", None)?;
        let log = self.folder.join("agent.log");
        self.agent = Some(Process::start("the agent", &program, arguments, log)?);
        Ok(())
    }

    async fn work(&mut self, objects: u32) -> Result<(Sight, i64, f64), RestoreError> {
        self.narrator.step(
            "A control plane's work: objects created, updated, deleted; heartbeats; events that expire",
        );
        let cluster = self.source()?;
        let done = workload::run(&cluster.client().await?, objects).await?;
        let sight = agreed(cluster, done.revision).await?;
        let per_second = f64::from(done.writes) / done.took.as_secs_f64();
        self.narrator.say(&format!(
            "{} writes in {:.1} s, {per_second:.0} a second",
            done.writes,
            done.took.as_secs_f64()
        ));
        self.narrator.say(&format!(
            "Revision {}: {} keys, {} of them in namespace {VICTIM}; every member says HashKV = {}",
            done.revision, sight.keys, sight.victims, sight.hash
        ));
        Ok((sight, done.revision, per_second))
    }

    async fn accident(&mut self, good: i64) -> Result<(), RestoreError> {
        self.narrator
            .step(&format!("An accident: namespace {VICTIM} is deleted"));
        let client = self.source()?.client().await?;
        let deleted = workload::delete_namespace(&client).await?;
        let revision = workload::revision(&client).await?;
        self.narrator.say(&format!(
            "{deleted} objects are gone; the cluster is at revision {revision}, and {good} was the last good one"
        ));
        Ok(())
    }

    async fn lose_the_leader(&mut self) -> Result<Duration, RestoreError> {
        self.narrator
            .step("And a failure: the leader's process is killed, while clients go on writing");
        let Some(cluster) = self.source.as_mut() else {
            return Err(not_started());
        };
        let (leader, _) = cluster.wait_for_leader().await?;
        let clients = cluster.clients().await?;
        cluster.kill(&leader).await?;
        let stall = workload::go_on(&clients, AFTERWARDS).await?;
        let (next, term) = cluster.wait_for_leader().await?;
        self.narrator.say(&format!(
            "{leader} was killed, {next} leads in term {term}; the longest wait of a writer was {:.1} s",
            stall.as_secs_f64()
        ));
        Ok(stall)
    }

    /// Waits until the vault has the newest revision; how long that took, and the revision.
    async fn wait_until_durable(&mut self) -> Result<(Duration, i64), RestoreError> {
        self.narrator.step("What the vault can bring back");
        let last = workload::revision(&self.source()?.client().await?).await?;
        let began = Instant::now();
        let target = self.folder.join("planned");
        let plan = self.command([
            "restore",
            CLUSTER,
            "--to-revision",
            &last.to_string(),
            "--data-dir",
            &target.to_string_lossy(),
            "--dry-run",
        ]);
        while let Err(error) = output(&self.revkeep, &plan).await {
            let Some(agent) = self.agent.as_mut() else {
                return Err(not_started());
            };
            agent.check()?;
            if began.elapsed() > DURABLE {
                return Err(RestoreError::new(
                    ErrorKind::Failed,
                    format!(
                        "revision {last} is not in the vault after {DURABLE:?} ({error}). {}",
                        agent.last_words()
                    ),
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let lag = began.elapsed();
        let info = self.command(["info", CLUSTER]);
        self.show(&info).await?;
        Ok((lag, last))
    }

    async fn restore(&mut self, good: i64, places: &[Place]) -> Result<Duration, RestoreError> {
        self.narrator.step(&format!(
            "Revision {good}, the one before the accident, for three new members"
        ));
        let began = Instant::now();
        for (place, first) in places.iter().zip([true, false, false]) {
            let arguments = self.command([
                "restore",
                CLUSTER,
                "--to-revision",
                &good.to_string(),
                self.kind.restore_flag(),
                &place.directory.to_string_lossy(),
                "--name",
                &place.name,
                "--initial-cluster",
                &initial_cluster(places),
                "--initial-advertise-peer-urls",
                &place.peer_url,
            ]);
            if first {
                self.show(&arguments).await?;
            } else {
                output(&self.revkeep, &arguments).await?;
                self.narrator
                    .say(&format!("and the same for {}", place.name));
            }
        }
        Ok(began.elapsed())
    }

    async fn boot(
        &mut self,
        good: i64,
        before: Sight,
        places: Vec<Place>,
    ) -> Result<Duration, RestoreError> {
        self.narrator
            .step("The restored members boot, and prove it");
        let began = Instant::now();
        let mut cluster = Cluster::start(self.kind, self.programs.as_ref(), places).await?;
        let (leader, _) = cluster.wait_for_leader().await?;
        let took = began.elapsed();
        let after = agreed(&cluster, good).await?;
        self.narrator.say(&format!(
            "They serve at {}; {leader} leads",
            cluster.endpoints()
        ));
        self.restored = Some(cluster);
        self.narrator.say(&format!(
            "Before: HashKV({good}) = {}, {} keys, {} in namespace {VICTIM}",
            before.hash, before.keys, before.victims
        ));
        self.narrator.say(&format!(
            "Now:    HashKV({good}) = {}, {} keys, {} in namespace {VICTIM}, on each of the three",
            after.hash, after.keys, after.victims
        ));
        if before != after {
            return Err(RestoreError::new(
                ErrorKind::Verification,
                format!("the restored cluster differs: {after:?} instead of {before:?}"),
            ));
        }
        self.narrator
            .proved("Equal: every key, value, revision, version and lease is what it was.");
        Ok(took)
    }

    fn close(&self, measured: &Measured, good: i64, keep: bool) {
        let tell = &self.narrator;
        tell.title("\nMeasured");
        for (what, value) in [
            (
                "writes a second, 32 clients",
                format!("{:.0}", measured.writes_per_second),
            ),
            ("revisions kept", measured.revisions.to_string()),
            (
                "size of the vault",
                format!("{:.1} MiB", bytes_as_mib(measured.vault_bytes)),
            ),
            (
                "writers waited for a new leader",
                format!("{:.1} s", measured.failover.as_secs_f64()),
            ),
            (
                "last write to safe in the vault",
                format!("at most {:.1} s", measured.lag.as_secs_f64()),
            ),
            (
                "restore of three members",
                format!("{:.1} s", measured.restore.as_secs_f64()),
            ),
            (
                "from their start to a leader",
                format!("{:.1} s", measured.boot.as_secs_f64()),
            ),
            (
                "the whole demo",
                format!("{:.1} s", tell.elapsed().as_secs_f64()),
            ),
        ] {
            tell.say(&format!("{what:<34}{value:>14}"));
        }
        if keep {
            self.invite(good);
        } else {
            tell.say("");
            tell.say("revkeep demo --keep leaves it running, with commands to try by hand.");
        }
    }

    /// Commands to try while everything still runs, each as it can be pasted.
    fn invite(&self, good: i64) {
        let tell = &self.narrator;
        let endpoints = |cluster: &Option<Cluster>| cluster.as_ref().map(Cluster::alive_endpoints);
        let restored = endpoints(&self.restored).unwrap_or_default();
        let source = endpoints(&self.source).unwrap_or_default();
        let (etcdctl, found) = match find("etcdctl", self.programs.as_ref()) {
            Ok(program) => (typed(&program), true),
            Err(_nowhere) => ("etcdctl".to_owned(), false),
        };
        let revkeep = typed(&self.revkeep);
        let pods = format!("/registry/pods/{VICTIM}/");
        let past = good.saturating_sub(10).max(1).to_string();
        let file = self.folder.join(format!("at-{past}.db"));
        let file = file.to_string_lossy();
        let show = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            tell.command(&words);
        };
        tell.title("\nTry it by hand, in another terminal");
        if !found {
            tell.say("etcdctl is not in PATH; that of any etcd 3.x release will do (--etcd-bin DIR says where it is)");
        }
        tell.say("the restored cluster:");
        show(&[
            &etcdctl,
            "--endpoints",
            &restored,
            "endpoint",
            "status",
            "-w",
            "table",
        ]);
        show(&[
            &etcdctl,
            "--endpoints",
            &restored,
            "get",
            "--prefix",
            &pods,
            "--keys-only",
            "--limit",
            "5",
        ]);
        tell.say("the source, of which two members live; what you write there is captured:");
        show(&[
            &etcdctl,
            "--endpoints",
            &source,
            "put",
            "/registry/configmaps/default/hello",
            "world",
        ]);
        show(&[&revkeep, "info", CLUSTER, "--vault", &self.vault]);
        tell.say(&format!(
            "a snapshot of revision {past}, for etcdutl snapshot restore:"
        ));
        show(&[
            &revkeep,
            "restore",
            CLUSTER,
            "--vault",
            &self.vault,
            "--to-revision",
            &past,
            "--snapshot-file",
            &file,
        ]);
        tell.title("\nCtrl-C here ends everything and removes the folder");
    }

    /// Runs `revkeep` with these words and shows both.
    async fn show(&self, arguments: &[String]) -> Result<(), RestoreError> {
        self.say_command("revkeep", arguments);
        let answer = output(&self.revkeep, arguments).await?;
        self.narrator.output(&answer);
        Ok(())
    }

    fn say_command<A: AsRef<str>>(&self, program: &str, arguments: &[A]) {
        let words = arguments.iter().map(AsRef::as_ref);
        let words = std::iter::once(program).chain(words);
        self.narrator
            .command(&words.map(str::to_owned).collect::<Vec<_>>());
    }

    fn command<const N: usize>(&self, words: [&str; N]) -> Vec<String> {
        let vault = ["--vault", &self.vault];
        words
            .iter()
            .chain(&vault)
            .map(|&word| word.to_owned())
            .collect()
    }

    fn source(&self) -> Result<&Cluster, RestoreError> {
        self.source.as_ref().ok_or_else(not_started)
    }

    /// Stops everything: first the agent, so that it can flush.
    async fn clear(self) -> Result<(), RestoreError> {
        if let Some(agent) = self.agent {
            agent.stop().await?;
        }
        for cluster in [self.source, self.restored].into_iter().flatten() {
            cluster.stop().await?;
        }
        Ok(())
    }
}

fn not_started() -> RestoreError {
    RestoreError::new(
        ErrorKind::Failed,
        "an earlier step did not start what this one needs",
    )
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn bytes_as_mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// The bytes of all files below a folder; what cannot be read counts nothing.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&entry.path()),
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}
