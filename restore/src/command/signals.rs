//! Ctrl-C and SIGTERM.

use tokio::sync::watch;

/// Turns true at the first Ctrl-C or SIGTERM.
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

#[cfg(unix)]
async fn wait() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _failed = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait() {
    let _failed = tokio::signal::ctrl_c().await;
}
