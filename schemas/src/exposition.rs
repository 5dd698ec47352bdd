//! Prometheus' text format, version 0.0.4: what `/metrics` answers (Prometheus, "Exposition formats").

use std::fmt::Write as _;

/// Rewrites OpenMetrics' text to the older format, which etcd speaks and scripts read: there a counter's ending is part of
/// its name, and no line says that it is the last.
#[must_use]
pub fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<&str> = None;
    for line in open_metrics.lines() {
        if line == "# EOF" {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest);
            continue;
        }
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let ending = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take().and_then(|help| help.split_once(' ')) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "# HELP {name}{ending} {words}");
            }
            let _ = writeln!(text, "# TYPE {name}{ending} {kind}");
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_carry_their_ending_in_the_older_format() {
        let open = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total 3\n# HELP size Size.\n# TYPE size gauge\nsize 1\n# EOF\n";
        assert_eq!(
            prometheus_text(open),
            "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total 3\n# HELP size Size.\n# TYPE size gauge\nsize 1\n"
        );
    }
}
