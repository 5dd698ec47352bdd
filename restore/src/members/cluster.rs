//! Members of one cluster as processes on loopback.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions};

use super::processes::{Process, find, free_ports};
use crate::error::{Kind as ErrorKind, RestoreError};

/// How long a small cluster may take to elect a leader.
pub(crate) const READY: Duration = Duration::from_secs(60);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// What the members are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The store of this repository.
    Store,
    /// Real etcd.
    Etcd,
}

impl Kind {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Store => "revkeep-store",
            Self::Etcd => "etcd",
        }
    }

    /// The flag of `revkeep restore` that builds a data directory for it.
    pub(crate) const fn restore_flag(self) -> &'static str {
        match self {
            Self::Store => "--store-dir",
            Self::Etcd => "--data-dir",
        }
    }

    /// Its program.
    pub(crate) fn program(self, folder: Option<&PathBuf>) -> Result<PathBuf, RestoreError> {
        find(self.name(), folder)
    }

    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Store => &["serve"],
            Self::Etcd => &[],
        }
    }
}

/// Where a member lives, whether it runs or not.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its name in the cluster.
    pub(crate) name: String,
    /// Its data directory.
    pub(crate) directory: PathBuf,
    /// Where clients reach it.
    pub(crate) client_url: String,
    /// Where the other members reach it.
    pub(crate) peer_url: String,
}

impl Place {
    /// The same on ports that are free now.
    pub(crate) fn on_free_ports(&self) -> Result<Self, RestoreError> {
        let mut place = self.clone();
        if let [client, peer] = free_ports(2)?[..] {
            place.client_url = format!("http://127.0.0.1:{client}");
            place.peer_url = format!("http://127.0.0.1:{peer}");
        }
        Ok(place)
    }
}

/// Places for some members in `folder`, on free ports.
pub(crate) fn places(folder: &Path, members: usize) -> Result<Vec<Place>, RestoreError> {
    std::fs::create_dir_all(folder).map_err(RestoreError::io(format!(
        "cannot make {}",
        folder.display()
    )))?;
    let ports = free_ports(2 * members)?;
    Ok(ports
        .chunks_exact(2)
        .zip(1..)
        .filter_map(|(pair, number)| match pair {
            &[client, peer] => Some(Place {
                name: format!("m{number}"),
                directory: folder.join(format!("m{number}")),
                client_url: format!("http://127.0.0.1:{client}"),
                peer_url: format!("http://127.0.0.1:{peer}"),
            }),
            _ => None,
        })
        .collect())
}

/// The value of `--initial-cluster`.
pub(crate) fn initial_cluster(places: &[Place]) -> String {
    let pairs: Vec<_> = places
        .iter()
        .map(|place| format!("{}={}", place.name, place.peer_url))
        .collect();
    pairs.join(",")
}

/// The members that run.
pub(crate) struct Cluster {
    /// Every place, also of members that were killed.
    places: Vec<Place>,
    running: Vec<(String, Process)>,
}

impl Cluster {
    /// Starts a member at each place and waits until they have a leader.
    pub(crate) async fn start(
        kind: Kind,
        programs: Option<&PathBuf>,
        places: Vec<Place>,
    ) -> Result<Self, RestoreError> {
        let mut cluster = Self::spawn(kind, programs, places, None)?;
        cluster.wait_for_leader().await?;
        Ok(cluster)
    }

    /// Starts a member at each place. `token` is that of the cluster, if it was restored with one.
    pub(crate) fn spawn(
        kind: Kind,
        programs: Option<&PathBuf>,
        places: Vec<Place>,
        token: Option<&str>,
    ) -> Result<Self, RestoreError> {
        let program = kind.program(programs)?;
        let all = initial_cluster(&places);
        let mut running = Vec::new();
        for place in &places {
            let mut arguments: Vec<String> =
                kind.command().iter().map(|&word| word.to_owned()).collect();
            for (flag, value) in [
                ("--name", place.name.as_str()),
                ("--data-dir", &place.directory.to_string_lossy()),
                ("--listen-client-urls", &place.client_url),
                ("--advertise-client-urls", &place.client_url),
                ("--listen-peer-urls", &place.peer_url),
                ("--initial-advertise-peer-urls", &place.peer_url),
                ("--initial-cluster", &all),
            ] {
                arguments.extend([flag.to_owned(), value.to_owned()]);
            }
            if let Some(token) = token {
                arguments.extend(["--initial-cluster-token".to_owned(), token.to_owned()]);
            }
            let log = place.directory.with_extension("log");
            let process = Process::start(&place.name, &program, arguments, log)?;
            running.push((place.name.clone(), process));
        }
        Ok(Self { places, running })
    }

    /// The client URLs of all places, separated by commas.
    pub(crate) fn endpoints(&self) -> String {
        let urls: Vec<_> = self
            .places
            .iter()
            .map(|place| place.client_url.as_str())
            .collect();
        urls.join(",")
    }

    /// The client URLs of the members that run, separated by commas.
    pub(crate) fn alive_endpoints(&self) -> String {
        let urls: Vec<_> = self
            .alive()
            .map(|place| place.client_url.as_str())
            .collect();
        urls.join(",")
    }

    /// The places of members that run.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &Place> {
        self.places
            .iter()
            .filter(|place| self.running.iter().any(|(name, _)| *name == place.name))
    }

    /// A client of the members that run.
    pub(crate) async fn client(&self) -> Result<Client, RestoreError> {
        self.client_for(REQUEST).await
    }

    /// A client of the members that run, whose requests may take that long.
    pub(crate) async fn client_for(&self, request: Duration) -> Result<Client, RestoreError> {
        let urls: Vec<_> = self.alive().map(|place| place.client_url.clone()).collect();
        connect_for(&urls, request).await
    }

    /// A client for each member that runs.
    pub(crate) async fn clients(&self) -> Result<Vec<Client>, RestoreError> {
        let mut clients = Vec::new();
        for place in self.alive() {
            clients.push(connect(std::slice::from_ref(&place.client_url)).await?);
        }
        Ok(clients)
    }

    /// The name of the leader and the term, once every member that runs agrees on one of them.
    pub(crate) async fn wait_for_leader(&mut self) -> Result<(String, u64), RestoreError> {
        self.wait_for_leader_within(READY).await
    }

    /// The same, of members that have more to read before they serve.
    pub(crate) async fn wait_for_leader_within(
        &mut self,
        patience: Duration,
    ) -> Result<(String, u64), RestoreError> {
        let began = Instant::now();
        loop {
            self.check()?;
            if let Some(found) = self.leader().await {
                return Ok(found);
            }
            if began.elapsed() > patience {
                let words: Vec<_> = self
                    .running
                    .iter()
                    .map(|(name, process)| format!("{name}: {}", process.last_words()))
                    .collect();
                return Err(RestoreError::new(
                    ErrorKind::Failed,
                    format!(
                        "the members found no leader in {patience:?}. {}",
                        words.join("\n")
                    ),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn leader(&self) -> Option<(String, u64)> {
        let mut answers = Vec::new();
        for place in self.alive() {
            let mut client = connect(std::slice::from_ref(&place.client_url))
                .await
                .ok()?;
            let status = client.status().await.ok()?;
            let own = status.header()?.member_id();
            answers.push((place, own, status.leader(), status.raft_term()));
        }
        let &(_, _, leader, term) = answers.first()?;
        let agreed = answers
            .iter()
            .all(|&(_, _, other, at)| (other, at) == (leader, term));
        let (place, ..) = answers.iter().find(|&&(_, own, ..)| own == leader)?;
        agreed.then(|| (place.name.clone(), term))
    }

    /// An error if a member has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), RestoreError> {
        let mut running = self.running.iter_mut();
        running.try_for_each(|(_, process)| process.check())
    }

    /// Whether a member finds its address in use.
    pub(crate) fn finds_an_address_in_use(&self) -> bool {
        let mut running = self.running.iter();
        running.any(|(_, process)| process.finds_its_address_in_use())
    }

    /// Whether a member does not serve because of the machine.
    pub(crate) fn fails_by_the_machine(&self) -> bool {
        let mut running = self.running.iter();
        running.any(|(_, process)| process.fails_by_the_machine())
    }

    /// Kills the process of one member; its data directory stays.
    pub(crate) async fn kill(&mut self, name: &str) -> Result<(), RestoreError> {
        match self.running.iter().position(|(running, _)| running == name) {
            Some(at) => self.running.swap_remove(at).1.kill().await,
            None => Ok(()),
        }
    }

    /// Stops every member.
    pub(crate) async fn stop(self) -> Result<(), RestoreError> {
        let stops = self.running.into_iter().map(|(_, process)| process.stop());
        futures::future::join_all(stops).await.into_iter().collect()
    }
}

/// A client whose requests do not wait for ever.
pub(crate) async fn connect(urls: &[String]) -> Result<Client, RestoreError> {
    connect_for(urls, REQUEST).await
}

/// A client whose requests may take that long.
pub(crate) async fn connect_for(
    urls: &[String],
    request: Duration,
) -> Result<Client, RestoreError> {
    let options = ConnectOptions::new()
        .with_connect_timeout(REQUEST)
        .with_timeout(request);
    Client::connect(urls, Some(options))
        .await
        .map_err(|error| failed("cannot connect to the members", error))
}

/// A failure of the members.
pub(crate) fn failed(what: &str, error: etcd_client::Error) -> RestoreError {
    RestoreError::new(ErrorKind::Failed, what).because(error)
}
