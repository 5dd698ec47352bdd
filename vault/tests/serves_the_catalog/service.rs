//! The service, and the vault that it serves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::world::{Rows, SMALL, rows, segment};
use revkeep_harness::{Process, free_port, http};
use revkeep_schemas::Revision;
use revkeep_schemas::catalog_api::Scope;
use revkeep_schemas::catalog_api::catalog_client::CatalogClient;
use revkeep_vault::{BaseFacts, SourceIdentity, Timeline, Vault};
use tonic::transport::Channel;

pub(super) const LONG: Duration = Duration::from_secs(60);

/// A vault in a folder with one cluster, `prod`: a base at 100, segments to 150.
pub(super) async fn vault(folder: &Path) -> (String, Timeline) {
    let url = format!("file://{}/vault", folder.display());
    let vault = Vault::create(&url).await.unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let source = SourceIdentity::default();
    let timeline = cluster.create_timeline(source, None).await.unwrap();
    let all = rows(2..151, 50);
    let old: Vec<_> = all
        .iter()
        .filter(|row| row.key.main.0 <= 100)
        .cloned()
        .collect();
    let facts = BaseFacts {
        revision: Revision(100),
        ..BaseFacts::default()
    };
    timeline
        .write_base_with(facts, Rows::of(&old), None, SMALL)
        .await
        .unwrap();
    timeline
        .put_segment(&segment(&timeline, &all, 101, 150))
        .await
        .unwrap();
    (url, timeline)
}

pub(super) struct Service {
    pub(super) process: Process,
    pub(super) port: u16,
}

impl Service {
    /// Starts one, and waits until it answers.
    pub(super) async fn start(
        folder: &Path,
        name: &str,
        vault: &str,
        catalog: &str,
        more: &[&str],
    ) -> Self {
        let port = free_port().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_revkeep-vault"));
        command
            .args([
                "serve",
                "--vault",
                vault,
                "--catalog",
                catalog,
                "--jitter",
                "0s",
            ])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(more)
            .env("RUST_LOG", "info");
        let process = Process::start(command, &folder.join(format!("{name}.log"))).unwrap();
        let mut service = Self { process, port };
        service.process.wait_for_log("serving", LONG).await.unwrap();
        service
    }

    pub(super) async fn filled(&mut self) {
        self.process
            .wait_for_log("the catalog is up to date", LONG)
            .await
            .unwrap();
    }

    pub(super) async fn client(&self) -> CatalogClient<Channel> {
        CatalogClient::connect(format!("http://127.0.0.1:{}", self.port))
            .await
            .unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> (u16, String) {
        http::request("GET", self.port, path).await.unwrap()
    }

    pub(super) async fn ends_in_order(mut self) {
        self.process.terminate().unwrap();
        let ended = self.process.wait(LONG).await.unwrap();
        assert!(ended.success(), "{}", self.process.log());
    }
}

pub(super) fn sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite://{}/{name}.sqlite", folder.display())
}

pub(super) fn prod() -> Scope {
    Scope {
        cluster: "prod".to_owned(),
        timeline: String::new(),
    }
}
