//! `/metrics`, in Prometheus' text format.

use std::fmt::Write as _;

use super::state::State;
use crate::catalog::query::StatusPage;

/// Prometheus' text format, version 0.0.4.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics. What the catalog says is left out while it cannot be asked.
pub(super) fn text(state: &State, fleet: Option<&StatusPage>, bytes: Option<u64>) -> String {
    let mut out = String::new();
    let jobs = state.jobs();
    let mut family = |name: &str, kind: &str, help: &str, lines: Vec<(String, String)>| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let each = |value: &dyn Fn(&super::state::JobState) -> Vec<(&'static str, String)>| {
        let mut lines = Vec::new();
        for (job, state) in &jobs {
            for (outcome, value) in value(state) {
                let more = if outcome.is_empty() {
                    String::new()
                } else {
                    format!(",outcome=\"{outcome}\"")
                };
                lines.push((format!("{{job=\"{job}\"{more}}}"), value));
            }
        }
        lines
    };
    family(
        "revkeep_vault_job_runs_total",
        "counter",
        "Jobs by how they ended.",
        each(&|state| {
            vec![
                ("succeeded", state.succeeded.to_string()),
                ("failed", state.failed.to_string()),
                ("elsewhere", state.left_to_others.to_string()),
            ]
        }),
    );
    family(
        "revkeep_vault_job_running",
        "gauge",
        "Whether a job is under way here.",
        each(&|state| vec![("", u8::from(state.running).to_string())]),
    );
    family(
        "revkeep_vault_job_last_success_timestamp_seconds",
        "gauge",
        "When a job went well last.",
        each(&|state| {
            let at = state.succeeded_at.map(|at| at.timestamp().to_string());
            at.map(|at| ("", at)).into_iter().collect()
        }),
    );
    family(
        "revkeep_vault_job_duration_seconds",
        "gauge",
        "How long the last run of a job took.",
        each(&|state| vec![("", format!("{:.3}", state.took.as_secs_f64()))]),
    );
    if let Some(fleet) = fleet {
        family(
            "revkeep_vault_clusters",
            "gauge",
            "Clusters that the catalog knows.",
            vec![(String::new(), fleet.total.to_string())],
        );
        family(
            "revkeep_vault_clusters_with_problem",
            "gauge",
            "Clusters that have a problem.",
            vec![(String::new(), fleet.problems.to_string())],
        );
    }
    if let Some(bytes) = bytes {
        family(
            "revkeep_vault_stored_bytes",
            "gauge",
            "Bytes of all objects that the catalog knows.",
            vec![(String::new(), bytes.to_string())],
        );
    }
    family(
        "revkeep_vault_build_info",
        "gauge",
        "The version.",
        vec![(
            format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
            "1".to_owned(),
        )],
    );
    out
}
