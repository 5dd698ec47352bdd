//! One etcd member.

use super::options::EtcdOptions;
use super::tool::EtcdTool;
use super::version::EtcdVersion;
use crate::http;
use crate::port::free_port;
use crate::process::Process;
use anyhow::{Context, Result, bail};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A loaded machine may take this long to boot a member; it usually takes a second.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// How long a member may take to end after SIGTERM before it is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// How often a start is tried again because another process took the port first.
const PORT_RACES: usize = 4;

/// A running etcd member on 127.0.0.1.
///
/// Dropping it kills the process and removes the data directory, unless that was given in the options.
#[derive(Debug)]
pub struct Etcd {
    version: EtcdVersion,
    options: EtcdOptions,
    ports: (u16, u16),
    /// Where `/health` is asked for without TLS, if clients need TLS.
    health_port: Option<u16>,
    data_dir: PathBuf,
    // Before the folder: the process must be gone when the folder is removed.
    process: Option<Process>,
    folder: TempDir,
    kept: Vec<TempDir>,
}

/// etcd's answer to HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The CRC-32C over the rows.
    pub hash: u32,
    /// The compact revision that the hash assumes; it can be below the newest one. -1: never compacted.
    pub compact_revision: i64,
}

impl Etcd {
    /// Starts a new one-member cluster and waits until it is healthy.
    pub async fn start(version: &EtcdVersion) -> Result<Self> {
        Self::start_with(version, EtcdOptions::default()).await
    }

    /// Starts a member with options and waits until it is healthy.
    pub async fn start_with(version: &EtcdVersion, options: EtcdOptions) -> Result<Self> {
        let mut etcd = Self::spawn(version, options)?;
        for _ in 0..PORT_RACES {
            match etcd.healthy().await {
                Err(_) if etcd.options.ports.is_none() && etcd.lost_a_port() => {
                    etcd.ports = (free_port()?, free_port()?);
                    etcd.launch()?;
                }
                outcome => return outcome.map(|()| etcd),
            }
        }
        bail!("etcd {version} found its ports taken {PORT_RACES} times")
    }

    /// Starts the process and does not wait: a member of a cluster is healthy only with the others.
    pub(crate) fn spawn(version: &EtcdVersion, options: EtcdOptions) -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-etcd-")?;
        let ports = match options.ports {
            Some(ports) => ports,
            None => (free_port()?, free_port()?),
        };
        let data_dir = options
            .data_dir
            .clone()
            .unwrap_or_else(|| folder.path().join("data"));
        let mut etcd = Self {
            version: version.clone(),
            options,
            ports,
            health_port: None,
            data_dir,
            process: None,
            folder,
            kept: Vec::new(),
        };
        etcd.launch()?;
        Ok(etcd)
    }

    fn launch(&mut self) -> Result<()> {
        let (_, peer) = self.ports;
        let endpoint = self.endpoint();
        self.health_port = match self.options.tls {
            Some(_) => Some(free_port()?),
            None => None,
        };
        let name = &self.options.name;
        let alone = format!("{name}=http://127.0.0.1:{peer}");
        let (program, first) = self.version.server();
        let mut arguments: Vec<String> = first.map(str::to_owned).into_iter().collect();
        arguments.extend([
            format!("--name={name}"),
            format!("--data-dir={}", self.data_dir.display()),
            format!("--listen-client-urls={endpoint}"),
            format!("--advertise-client-urls={endpoint}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!(
                "--initial-cluster={}",
                self.options.initial_cluster.as_ref().unwrap_or(&alone)
            ),
        ]);
        if self.version.series() == (3, 4) {
            arguments.push("--logger=zap".to_owned());
        }
        if self.options.initial_cluster.is_none() {
            // A member alone elects itself: the sooner the better.
            arguments
                .extend(["--heartbeat-interval=20", "--election-timeout=200"].map(String::from));
        }
        if let (Some(tls), Some(port)) = (&self.options.tls, self.health_port) {
            let file = |name| tls.file(name).display().to_string();
            arguments.extend([
                format!("--listen-metrics-urls=http://127.0.0.1:{port}"),
                format!("--cert-file={}", file("server.crt")),
                format!("--key-file={}", file("server.key")),
                format!("--trusted-ca-file={}", file("ca.crt")),
                "--client-cert-auth".to_owned(),
            ]);
        }
        arguments.extend(self.options.flags.iter().cloned());
        let log = self.folder.path().join("etcd.log");
        let none: [(&str, &str); 0] = [];
        self.process = Some(Process::spawn(&program, arguments, none, &log)?);
        Ok(())
    }

    fn lost_a_port(&self) -> bool {
        self.log().to_lowercase().contains("address already in use")
    }

    /// Waits until the member has a leader and serves linearizable reads (`/health`, which needs no authentication).
    ///
    /// # Errors
    /// If the process ends, or is not healthy within a minute; the error carries the end of the log.
    pub async fn healthy(&mut self) -> Result<()> {
        let deadline = Instant::now() + HEALTHY_WITHIN;
        loop {
            let process = self.process.as_mut().context("etcd was stopped")?;
            if let Some(status) = process.ended()? {
                bail!(
                    "etcd {} ended with {status}:\n{}",
                    self.version,
                    process.log_tail(25)
                );
            }
            let port = self.health_port.unwrap_or(self.ports.0);
            if let Ok((200, body)) = http::request("GET", port, "/health").await
                && body.contains("true")
            {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "etcd {} is not healthy in time:\n{}",
                    self.version,
                    process.log_tail(25)
                );
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Keeps a folder, that of the data directory say, until the member is dropped.
    pub fn keep(&mut self, folder: TempDir) {
        self.kept.push(folder);
    }

    /// The process id of the running member.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its release.
    pub fn version(&self) -> &EtcdVersion {
        &self.version
    }

    /// The client URL, `http://127.0.0.1:PORT`, or `https` with TLS.
    pub fn endpoint(&self) -> String {
        let scheme = if self.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}", self.ports.0)
    }

    /// The client URLs as a list of one, for code that takes many.
    pub fn endpoints(&self) -> Vec<String> {
        vec![self.endpoint()]
    }

    /// The peer URL.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.1)
    }

    /// The data directory; the db file is `member/snap/db` in it.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The path of the db file. Read it only while the member is stopped.
    pub fn db_file(&self) -> PathBuf {
        self.data_dir.join("member").join("snap").join("db")
    }

    /// A new client connection.
    pub async fn client(&self) -> Result<Client> {
        self.client_with(ConnectOptions::new()).await
    }

    /// A new client connection with options, which show the client's certificate where the server wants one.
    pub async fn client_with(&self, mut options: ConnectOptions) -> Result<Client> {
        if let Some(tls) = &self.options.tls {
            let read = |name| std::fs::read(tls.file(name));
            let identity = Identity::from_pem(read("client.crt")?, read("client.key")?);
            let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("ca.crt")?));
            options = options.with_tls(tls.identity(identity));
        }
        Ok(Client::connect(self.endpoints(), Some(options)).await?)
    }

    /// etcd's own tools of the same release, aimed at this member.
    pub fn tool(&self) -> EtcdTool {
        EtcdTool::new(&self.version).with_endpoints(&self.endpoints())
    }

    /// HashKV at `revision` (0: the newest), as this member computes it.
    pub async fn hash_kv(&self, revision: i64) -> Result<HashKv> {
        let answer = self.client().await?.hash_kv(revision).await?;
        Ok(HashKv {
            hash: answer.hash(),
            compact_revision: answer.compact_version(),
        })
    }

    /// The newest revision.
    pub async fn revision(&self) -> Result<i64> {
        let answer = self.client().await?.get("\0", None).await?;
        Ok(answer
            .header()
            .context("an answer without a header")?
            .revision())
    }

    /// What the member has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("etcd.log")).unwrap_or_default()
    }

    /// Ends the member gracefully (SIGTERM) and waits for it. Its data and ports stay for [`restart`](Self::restart).
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.terminate()?;
            process.wait(STOPPED_WITHIN).await?;
        }
        Ok(())
    }

    /// Ends the member at once (SIGKILL), as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Sends the member a signal, such as `STOP`, unless it has ended.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        self.process
            .as_mut()
            .map_or(Ok(()), |process| process.signal(name))
    }

    /// Stops the member if it runs, starts it again on the same data and ports, and waits until it is healthy.
    pub async fn restart(&mut self) -> Result<()> {
        self.relaunch().await?;
        self.healthy().await
    }

    /// The same without waiting: a member with an alarm is never healthy.
    pub async fn relaunch(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch()
    }
}
