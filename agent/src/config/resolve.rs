//! From settings to what the agent is run with.

use std::time::Duration;

use revkeep_vault::door::TlsFiles;

use super::load::Loaded;
use super::origin::Origin;
use super::secret::Secret;
use super::settings::key;
use super::values::{Period, Size};
use crate::AgentError;
use crate::capture::batch::Limits;
use crate::maintenance::{Permit, Thresholds, Upkeep};
use crate::run::{Route, RunOptions};
use crate::source::{Access, Connection, Password, Prefer, Tls, User};
use crate::status::StatusAddress;

/// The shortest time for an attempt.
const SHORTEST_DEADLINE: Duration = Duration::from_secs(1);
/// The shortest time between two segments.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The largest batch: the index of a segment has a limit of its own, which millions of small rows would reach.
const LARGEST_BATCH: usize = 128 << 20;
/// The least that a watch's message may take: etcd's own limit of a request is 1.5 MiB, and it cuts longer answers at that
/// and 512 KiB.
const LEAST_DECODING: usize = 8 << 20;

impl Loaded {
    /// How the source is reached.
    ///
    /// # Errors
    /// [`AgentError::Config`] for what does not fit together.
    pub fn connection(&self) -> Result<Connection, AgentError> {
        let settings = &self.settings;
        let given = settings.endpoints.clone().unwrap_or_default();
        let endpoints: Vec<String> = given.into_iter().filter(|one| !one.is_empty()).collect();
        if endpoints.is_empty() {
            return Err(wrong("--endpoints: name at least one"));
        }
        pair(
            "--cert",
            settings.cert.as_ref(),
            "--key",
            settings.key.as_ref(),
        )?;
        let max_decoding = bytes(settings.max_decoding);
        if max_decoding < LEAST_DECODING {
            return Err(wrong("--max-decoding: 8MiB is the least"));
        }
        let access = Access {
            tls: Tls {
                cacert: settings.cacert.clone(),
                cert: settings.cert.clone(),
                key: settings.key.clone(),
                skip_verify: settings.insecure_skip_tls_verify.unwrap_or_default(),
            },
            user: self.user()?,
            dial_timeout: duration(settings.dial_timeout),
            command_timeout: duration(settings.command_timeout),
            max_decoding,
            hashkv: settings.hashkv.unwrap_or_default(),
        };
        Ok(Connection::new(endpoints, access))
    }

    /// Where from and where to.
    ///
    /// # Errors
    /// [`AgentError::Config`] for what is missing or does not fit together.
    pub fn route(&self) -> Result<Route, AgentError> {
        let settings = &self.settings;
        let needed = |value: &Option<String>, flag: &str, example: &str| {
            let missing = || {
                let variable = flag.to_ascii_uppercase();
                wrong(&format!(
                    "--{flag} is needed: give the flag, REVKEEP_{variable}, or {flag} in the file of --config, as in {example}"
                ))
            };
            value
                .clone()
                .filter(|value| !value.is_empty())
                .ok_or_else(missing)
        };
        Ok(Route {
            connection: self.connection()?,
            vault: needed(&settings.vault, "vault", "file:///var/backups/etcd")?,
            cluster: needed(&settings.cluster, "cluster", "prod")?,
            state_dir: settings.state_dir.clone(),
        })
    }

    /// Which member sends snapshots.
    #[must_use]
    pub fn prefer(&self) -> Prefer {
        self.settings.prefer.unwrap_or_default()
    }

    /// How capture runs.
    ///
    /// # Errors
    /// [`AgentError::Config`] for what is out of bounds or does not fit together.
    pub fn options(&self) -> Result<RunOptions, AgentError> {
        let settings = &self.settings;
        let interval = duration(settings.flush_interval);
        if interval < SHORTEST_INTERVAL {
            return Err(wrong("--flush-interval: 100ms is the least"));
        }
        let flush_bytes = bytes(settings.flush_bytes);
        if flush_bytes > LARGEST_BATCH {
            return Err(wrong("--flush-bytes: 128MiB is the most"));
        }
        let zone = settings.time_zone.unwrap_or(chrono_tz::Tz::UTC);
        let schedule = settings.snapshot_schedule.clone();
        pair(
            "--status-cert",
            settings.status_cert.as_ref(),
            "--status-key",
            settings.status_key.as_ref(),
        )?;
        let tls = match (&settings.status_cert, &settings.status_key) {
            (Some(cert), Some(key)) => Some(TlsFiles {
                cert: cert.clone(),
                key: key.clone(),
                cacert: settings.status_cacert.clone(),
            }),
            _ if settings.status_cacert.is_some() => {
                return Err(wrong(
                    "--status-cacert needs --status-cert and --status-key",
                ));
            }
            _ => None,
        };
        let defrag = settings.defrag_schedule.clone();
        Ok(RunOptions {
            limits: Limits {
                interval,
                bytes: flush_bytes.max(1),
            }
            .into(),
            queue_bytes: bytes(settings.queue_bytes),
            spool_limit: (bytes(settings.spool_limit) as u64).into(),
            upload_deadline: duration(settings.upload_deadline)
                .max(SHORTEST_DEADLINE)
                .into(),
            schedule: schedule.map(|one| one.in_zone(zone)).into(),
            catch_up_limit: settings.catch_up_limit.unwrap_or_default().max(1).into(),
            grace: duration(settings.grace).into(),
            upkeep: Upkeep {
                schedule: defrag.map(|one| one.in_zone(zone)),
                scope: settings.defrag_scope.unwrap_or_default(),
                thresholds: Thresholds {
                    free_percent: settings.defrag_free_percent.unwrap_or_default(),
                    free_bytes: bytes(settings.defrag_free_bytes) as u64,
                },
                timeout: duration(settings.defrag_timeout),
                quota_bytes: settings.quota_bytes.map(|size| size.0 as u64),
            }
            .into(),
            permit: Permit::default(),
            listen: StatusAddress {
                listen: settings.listen_status.clone().unwrap_or_default(),
                tls,
            },
            upload: settings.upload.unwrap_or_default(),
            prefer: self.prefer(),
        })
    }

    /// Name and password. A source that wins over the others gives both, as in etcdctl: beside a password of its own or of
    /// a source before it, the whole of `--user` is the name, with any colon in it.
    fn user(&self) -> Result<Option<User>, AgentError> {
        let settings = &self.settings;
        let Some(user) = &settings.user else {
            return Ok(None);
        };
        let rank = |field: &str| self.origin(field).rank();
        let given = settings
            .password
            .clone()
            .map(|secret| (rank("password"), Password::Given(secret)));
        let file = settings
            .password_file
            .clone()
            .map(|file| (rank("password_file"), Password::File(file)));
        let password = match (given, file) {
            (Some((one, _)), Some((other, _))) if one == other => {
                return Err(wrong("--password and --password-file: give one of them"));
            }
            (Some(one), Some(other)) => Some(if one.0 < other.0 { one } else { other }),
            (one, other) => one.or(other),
        };
        let inline = |name: &str, password: Secret| {
            let name = name.to_owned();
            let password = Password::Given(password);
            User { name, password }
        };
        let whole = user.whole().to_owned();
        Ok(Some(match (user.split(), password) {
            ((name, Some(inner)), Some((from, _))) if rank("user") < from => inline(name, inner),
            (_, Some((_, password))) => User {
                name: whole,
                password,
            },
            ((name, Some(inner)), None) => inline(name, inner),
            ((_, None), None) => {
                return Err(wrong(
                    "--user has no password: write name:password, or give --password-file or --password",
                ));
            }
        }))
    }
}

impl Origin {
    /// Of two, the lower wins.
    const fn rank(&self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Variable(_) => 1,
            Self::Etcdctl(_) => 2,
            Self::File(_) => 3,
            Self::Default => 4,
        }
    }
}

fn wrong(text: &str) -> AgentError {
    AgentError::Config(text.to_owned())
}

fn pair<T>(
    one: &str,
    first: Option<&T>,
    other: &str,
    second: Option<&T>,
) -> Result<(), AgentError> {
    if first.is_some() == second.is_some() {
        return Ok(());
    }
    Err(AgentError::Config(format!(
        "{one} and {other} belong together: give both or neither"
    )))
}

/// Those that this is asked of have a default.
fn duration(period: Option<Period>) -> Duration {
    period.map_or(Duration::ZERO, |period| period.0)
}

fn bytes(size: Option<Size>) -> usize {
    size.map_or(0, |size| size.0)
}

/// Whether a setting can change while the agent runs.
pub(super) fn needs_restart(field: &str) -> bool {
    const FIXED: [&str; 12] = [
        "endpoints",
        "vault",
        "cluster",
        "state-dir",
        "queue-bytes",
        "upload",
        "prefer",
        "listen-status",
        "status-cert",
        "status-key",
        "status-cacert",
        "log-format",
    ];
    FIXED.contains(&key(field).as_str())
}

#[cfg(test)]
mod tests;
