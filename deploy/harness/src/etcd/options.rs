//! How a member is started.

use crate::certificates::Certificates;
use std::path::PathBuf;

/// Options of one etcd member. The default is a new one-member cluster in a folder of its own.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The member's name.
    pub name: String,
    /// Its data directory: an existing one (a restored one, say) is booted as it is. `None`: a new one, removed at the end.
    pub data_dir: Option<PathBuf>,
    /// `--initial-cluster`, `name=peer-url,…`; `None`: this member alone. etcd ignores it where the data directory exists.
    pub initial_cluster: Option<String>,
    /// Client and peer port on 127.0.0.1; `None`: free ones. Give them where peer URLs must be known before the start.
    pub ports: Option<(u16, u16)>,
    /// Serves clients by TLS alone, and only those that show a certificate of the same authority.
    pub tls: Option<Certificates>,
    /// Further flags, after the harness's own, so that they win: `--quota-backend-bytes=16777216`.
    pub flags: Vec<String>,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            data_dir: None,
            initial_cluster: None,
            ports: None,
            tls: None,
            flags: Vec::new(),
        }
    }
}

impl EtcdOptions {
    /// Options that boot an existing data directory, as one member.
    pub fn booting(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: Some(data_dir.into()),
            ..Self::default()
        }
    }

    /// Adds one more flag.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }
}
