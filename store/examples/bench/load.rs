//! Many clients, each asking again as soon as it is answered.

use crate::summary::summary;
use anyhow::{Result, ensure};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::Status;

/// Runs `client(n)` for each client over and over; a tenth of the time before is not counted.
pub(crate) async fn load<C, F, R>(clients: usize, seconds: f64, client: C) -> Result<Value>
where
    C: Fn(usize) -> F,
    F: FnMut() -> R + Send + 'static,
    R: Future<Output = Result<(), Status>> + Send,
{
    let counted = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let (mut ask, counted, stop) = (client(number), counted.clone(), stop.clone());
        tasks.spawn(async move {
            let (mut latencies, mut failed, mut answered) = (Vec::new(), 0_u64, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                let outcome = ask().await;
                answered += u64::from(outcome.is_ok());
                if !counted.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed) {
                    continue;
                }
                if outcome.is_ok() {
                    let took = started.elapsed().as_micros();
                    latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
                } else {
                    failed += 1;
                }
            }
            (latencies, failed, answered)
        });
    }
    tokio::time::sleep(Duration::from_secs_f64(seconds / 10.0)).await;
    counted.store(true, Ordering::Relaxed);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let took = started.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (mut latencies, mut failed, mut answered) = (Vec::new(), 0, 0);
    while let Some(outcome) = tasks.join_next().await {
        let (more, refused, all) = outcome?;
        latencies.extend(more);
        failed += refused;
        answered += all;
    }
    ensure!(
        !latencies.is_empty(),
        "nothing was answered: {failed} refusals"
    );
    Ok(summary(latencies, took, failed, answered))
}
