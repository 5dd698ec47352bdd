//! Ctrl-C, SIGTERM, and SIGHUP, which comes when the terminal or the connection goes.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::RestoreError;

/// Turns true at the first Ctrl-C, SIGTERM or SIGHUP; under `nohup` the last changes nothing.
pub(super) fn cancellation() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    // It ends with the runtime.
    tokio::spawn(async move {
        wait().await;
        let _nobody = sender.send(true);
        // The channel stays open, so that waiting for the signal never ends in an error.
        std::future::pending::<()>().await;
    });
    receiver
}

/// Does something, unless a signal comes first.
///
/// # Errors
/// [`Kind::Interrupted`](crate::error::Kind::Interrupted) when one does; as what is done.
pub(super) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, RestoreError>>,
) -> Result<T, RestoreError> {
    let mut cancelled = cancellation();
    tokio::select! {
        done = Box::pin(work) => done,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(crate::replay::interrupted()),
    }
}

async fn wait() {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = signalled(SignalKind::terminate()) => {}
        () = signalled(SignalKind::hangup()), if !ignores_hangup() => {}
    }
}

/// Ends when the signal comes; never if it cannot be waited for.
async fn signalled(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// Whether SIGHUP was ignored when this program was started, as `nohup` has it: a handler would undo that. Linux says so in
/// the line `SigIgn` of `/proc/self/status`, in hexadecimal, with a bit for each signal from 1 (proc(5)).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 != 0)
}
