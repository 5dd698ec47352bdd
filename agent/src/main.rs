//! `revkeep-agent`.

use std::process::ExitCode;

use clap::Parser;
use revkeep_agent::command::{Arguments, report};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.start_log();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| revkeep_agent::AgentError::Io {
            what: "start the runtime".to_owned(),
            source,
        })
        .and_then(|runtime| {
            runtime.block_on(async {
                let stop = CancellationToken::new();
                tokio::spawn(stop_on_signal(stop.clone()));
                Box::pin(arguments.execute(stop)).await
            })
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, arguments.json());
            ExitCode::from(error.exit_code())
        }
    }
}

/// SIGTERM and SIGINT ask for an orderly end.
async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    stop.cancel();
}
