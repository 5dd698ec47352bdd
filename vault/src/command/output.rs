//! What is written where.

use std::io::Write as _;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For eyes.
    #[default]
    Simple,
    /// For programs.
    Json,
}

/// A line of the answer. A reader that has gone away is no error.
pub(super) fn line(text: &str) {
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

/// Starts to log to standard error; `RUST_LOG` decides what, where it is set.
pub(super) fn log(json: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| "warn,revkeep_vault=info".into());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    // Nobody else has started one.
    let _started = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.try_init()
    };
}

/// What went wrong.
pub(super) fn error(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "error: {text}");
}

/// Bytes for eyes.
pub(super) fn bytes(count: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| count >> shift > 0);
    match unit {
        Some((shift, name)) => {
            let tenths = (u128::from(count) * 10) >> shift;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_written_short() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
        ] {
            assert_eq!(super::bytes(count), text);
        }
    }
}
