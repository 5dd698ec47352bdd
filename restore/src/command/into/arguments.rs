//! The flags of a live cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::error::{Kind, RestoreError};
use crate::live::Connection;

/// Defaults of etcdctl.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a live cluster is, and what becomes of it.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Into a live cluster (connection flags and ETCDCTL_* variables as etcdctl's)"
)]
pub(in crate::command) struct IntoArguments {
    /// Put the keys under --prefix of this live cluster back: prints the plan, and acts with --apply
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ENDPOINTS",
        requires = "prefix"
    )]
    pub(in crate::command) into: Vec<String>,
    /// Do what the plan says
    #[arg(long)]
    pub(super) apply: bool,
    /// Delete keys under the prefix that were not there at that revision
    #[arg(long)]
    pub(super) delete_extra: bool,
    /// Write the plan into this file; with --apply, carry out the plan in it, from where it was left
    #[arg(long, value_name = "FILE")]
    pub(super) plan_file: Option<PathBuf>,
    #[arg(
        long,
        env = "ETCDCTL_CACERT",
        value_name = "FILE",
        help = "The authority that signed the servers' certificates"
    )]
    cacert: Option<PathBuf>,
    #[arg(
        long,
        env = "ETCDCTL_CERT",
        value_name = "FILE",
        help = "The client's certificate"
    )]
    cert: Option<PathBuf>,
    #[arg(
        long,
        env = "ETCDCTL_KEY",
        value_name = "FILE",
        help = "The client's private key"
    )]
    key: Option<PathBuf>,
    /// The user, or the user and the password after a colon
    #[arg(
        long,
        env = "ETCDCTL_USER",
        hide_env_values = true,
        value_name = "NAME[:PASSWORD]"
    )]
    user: Option<String>,
    /// The password, if it does not stand in --user
    #[arg(long, env = "ETCDCTL_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// How long a connect may take
    #[arg(long, env = "ETCDCTL_DIAL_TIMEOUT", value_parser = humantime::parse_duration, default_value = "2s")]
    dial_timeout: Duration,
    /// How long a request may take
    #[arg(long, env = "ETCDCTL_COMMAND_TIMEOUT", value_parser = humantime::parse_duration, default_value = "5s")]
    command_timeout: Duration,
}

impl IntoArguments {
    /// Whether a flag was given that makes no sense for other targets.
    pub(in crate::command) const fn acts(&self) -> bool {
        self.apply || self.delete_extra || self.plan_file.is_some()
    }

    /// Whether anything is to be changed.
    pub(in crate::command) const fn applies(&self) -> bool {
        self.apply
    }

    /// The same flags once more, for a command to copy; no password.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["--into".to_owned(), self.into.join(",")];
        let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
        let files = [
            ("--cacert", &self.cacert),
            ("--cert", &self.cert),
            ("--key", &self.key),
        ];
        for (name, path) in files {
            if let Some(path) = path {
                flag(name, path.display().to_string());
            }
        }
        let set = |name: &str| std::env::var_os(name).is_some();
        // Where the environment names the user, it does so the next time, too.
        if let Some(user) = self.user.as_ref().filter(|_| !set("ETCDCTL_USER")) {
            let name = user.split_once(':').map_or(user.as_str(), |(name, _)| name);
            if set("ETCDCTL_PASSWORD") {
                flag("--user", name.to_owned());
            } else {
                flag("--user", format!("{name}:PASSWORD"));
            }
        }
        let waits = [
            ("--dial-timeout", self.dial_timeout, DIAL_TIMEOUT),
            ("--command-timeout", self.command_timeout, COMMAND_TIMEOUT),
        ];
        for (name, wait, usual) in waits {
            if wait != usual {
                flag(
                    name,
                    humantime::format_duration(wait)
                        .to_string()
                        .replace(' ', ""),
                );
            }
        }
        if self.delete_extra {
            words.push("--delete-extra".to_owned());
        }
        words
    }

    pub(super) fn connection(&self) -> Result<Connection, RestoreError> {
        let user = match (&self.user, &self.password) {
            (None, _) => None,
            (Some(name), Some(password)) => Some((name.clone(), password.clone())),
            (Some(both), None) => {
                let (name, password) = both.split_once(':').ok_or_else(|| {
                    RestoreError::new(
                        Kind::Invalid,
                        "--user has no password: write name:password, or give --password",
                    )
                })?;
                Some((name.to_owned(), password.to_owned()))
            }
        };
        Ok(Connection {
            endpoints: self.into.clone(),
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            user,
            dial_timeout: self.dial_timeout,
            command_timeout: self.command_timeout,
        })
    }
}
