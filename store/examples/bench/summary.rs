//! What was measured, in numbers.

use serde_json::{Value, json};
use std::time::Duration;

/// Throughput and latencies; latencies are sorted here. `answered` is all that the server did, counted or not.
pub(crate) fn summary(
    mut latencies_us: Vec<u32>,
    took: Duration,
    failed: u64,
    answered: u64,
) -> Value {
    latencies_us.sort_unstable();
    let at = |part: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a position in a list"
        )]
        let index = ((latencies_us.len() as f64 - 1.0).max(0.0) * part).round() as usize;
        latencies_us.get(index).copied().unwrap_or_default()
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = latencies_us.len() as f64 / took.as_secs_f64();
    json!({
        "operations": latencies_us.len(),
        "seconds": took.as_secs_f64(),
        "per_second": per_second,
        "p50_us": at(0.5),
        "p99_us": at(0.99),
        "max_us": at(1.0),
        "failed": failed,
        "answered": answered,
    })
}
