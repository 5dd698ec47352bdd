//! A restore that goes around what turns out to be damaged while it is read.

use revkeep_vault::Vault;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::RestoreError;
use crate::execute::{Destination, Progress, execute};
use crate::plan::Target;
use crate::prepare::{Prepared, Request, prepare};
use crate::report::Report;
use crate::source::Source;

/// Carries a plan out, as [`execute`]. Where rows of a segment or a chunk of a base turn out to be damaged or gone, the plan is
/// made again without that object, as long as others lead to the same revision; the report names what was gone around. Nothing
/// of the first try is kept. `replanned` is told of every new plan.
///
/// # Errors
/// As [`execute`] and [`prepare`]: where nothing leads around the damage, the error names all of it.
#[expect(
    clippy::too_many_arguments,
    reason = "a restore has two ends, a plan, and somebody who looks on"
)]
pub fn execute_around(
    runtime: &Handle,
    source: &Source,
    request: Request,
    mut prepared: Prepared,
    destination: &Destination,
    cancelled: &watch::Receiver<bool>,
    plan_seconds: f64,
    progress: Progress<'_>,
    replanned: &(dyn Fn(&Prepared) + Send + Sync),
) -> Result<Report, RestoreError> {
    let mut source = source.clone();
    loop {
        let done = execute(
            runtime,
            &source,
            &prepared,
            destination,
            cancelled,
            plan_seconds,
            progress,
        );
        let error = match done {
            Err(error) if source.set_lost_aside(&error) => error,
            Ok(mut report) => {
                report.fetched = traffic(source.timeline.cluster().vault());
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        tracing::warn!(%error, "an object cannot be used; planning around it");
        let request = Request {
            target: Target::Revision(prepared.recipe.target),
            ..request
        };
        let mut cancelled = cancelled.clone();
        let again = runtime.block_on(async {
            tokio::select! {
                biased;
                Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(crate::replay::interrupted()),
                again = prepare(&source, request) => again,
            }
        })?;
        prepared = again.finished_like(prepared);
        replanned(&prepared);
    }
}

fn traffic(vault: &Vault) -> crate::estimate::Traffic {
    vault.traffic().into()
}
