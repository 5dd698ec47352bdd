//! What is logged, and how: to standard error, one line for each thing that happens.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
    log_format: Option<LogFormat>,
    /// How much is logged [default: info].
    #[arg(
        long,
        env = "REVKEEP_LOG_LEVEL",
        global = true,
        value_enum,
        value_name = "LEVEL"
    )]
    log_level: Option<LogLevel>,
    /// The same as --log-level debug.
    #[arg(long, global = true)]
    debug: bool,
}

impl LogArguments {
    /// Whether lines are JSON; `otherwise` where the flag does not say.
    pub(super) fn json(&self, otherwise: bool) -> bool {
        self.log_format
            .map_or(otherwise, |format| format == LogFormat::Json)
    }

    fn level(&self) -> &'static str {
        match self.log_level {
            Some(level) if !self.debug => level.word(),
            None if !self.debug => "info",
            _ => "debug",
        }
    }

    /// Starts to log.
    pub(super) fn start(&self, json: bool) {
        let level = self.level();
        // Other crates are heard from warnings on.
        let others = if level == "error" { "error" } else { "warn" };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
            format!("{others},revkeep_agent={level},revkeep_vault={level}").into()
        });
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(std::io::stderr);
        if json {
            log.json().flatten_event(true).init();
            // Its own words would be lines that are no JSON.
            std::panic::set_hook(Box::new(|panic| {
                tracing::error!(%panic, "a task broke down");
            }));
        } else {
            log.init();
        }
    }
}
