//! What is logged, and how: to standard error, one line for each thing that happens.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every object and every answer.
    Debug,
    /// Every change of state.
    Info,
    /// What needs an eye.
    Warn,
    /// What failed.
    Error,
}

impl LogLevel {
    const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Flags of the log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log (to standard error; RUST_LOG decides what, where it is set)")]
pub struct LogArguments {
    /// How log lines look; json as well where -w json is given.
    #[arg(
        long,
        env = "REVKEEP_LOG_FORMAT",
        global = true,
        value_enum,
        value_name = "FORMAT"
    )]
    pub(super) log_format: Option<LogFormat>,
    /// How much is logged [default: info].
    #[arg(
        long,
        env = "REVKEEP_LOG_LEVEL",
        global = true,
        value_enum,
        value_name = "LEVEL"
    )]
    pub(super) log_level: Option<LogLevel>,
    /// The same as --log-level debug; says also where each setting came from.
    #[arg(long, global = true)]
    debug: bool,
}

impl LogArguments {
    /// Whether lines are JSON; `otherwise` where the flag does not say.
    pub(super) fn json(&self, otherwise: bool) -> bool {
        self.log_format
            .map_or(otherwise, |format| format == LogFormat::Json)
    }

    /// What the flags say, for the settings; --debug comes before --log-level.
    pub(super) fn level(&self) -> Option<LogLevel> {
        if self.debug {
            return Some(LogLevel::Debug);
        }
        self.log_level
    }
}

/// Changes how much is logged.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogHandle {
    /// Logs as much as this from now on, unless `RUST_LOG` decides.
    pub(crate) fn set(&self, level: Option<LogLevel>) {
        let level = level.unwrap_or(LogLevel::Info);
        if let Err(error) = self.filter.reload(filter(level)) {
            tracing::warn!(%error, "the log's level was not changed");
        }
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let level = level.word();
    // Other crates are heard from warnings on.
    let others = if level == "error" { "error" } else { "warn" };
    EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| format!("{others},revkeep_agent={level},revkeep_vault={level}").into())
}

/// Starts to log to standard error.
pub(super) fn start(level: LogLevel, json: bool) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(lines.json().flatten_event(true)).init();
        // Its own words would be lines that are no JSON.
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!(%panic, "a task broke down");
        }));
    } else {
        registry.with(lines).init();
    }
    LogHandle { filter: handle }
}
