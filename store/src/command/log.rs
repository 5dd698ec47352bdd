//! What is logged, and how.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, as etcd logs.
    Json,
    /// For eyes.
    Console,
}

/// Flags of the log.
#[derive(Debug, Args)]
pub struct LogFlags {
    /// How much: debug, info, warn or error. `RUST_LOG` decides instead where it is set.
    #[arg(long, env = "ETCD_LOG_LEVEL", default_value = "info", value_parser = ["debug", "info", "warn", "error", "panic", "fatal"])]
    pub log_level: String,
    /// How lines look.
    #[arg(
        long,
        env = "ETCD_LOG_FORMAT",
        value_enum,
        default_value_t = LogFormat::Json
    )]
    pub log_format: LogFormat,
}

impl LogFlags {
    /// Starts logging to standard error.
    pub fn start(&self) {
        let level = match self.log_level.as_str() {
            "panic" | "fatal" => "error",
            level => level,
        };
        let filter = EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| format!("warn,openraft=error,revkeep_store={level}").into());
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Json => log.json().flatten_event(true).init(),
            LogFormat::Console => log.init(),
        }
    }
}
