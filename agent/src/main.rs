//! `revkeep-agent`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use revkeep_agent::AgentError;
use revkeep_agent::command::{Arguments, report};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long the end waits for threads that still read or write a file.
const LINGER: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _closed = error.print();
            return if error.use_stderr() {
                // clap's own code for this is the one of "cannot connect".
                AgentError::Config(String::new()).exit_code().into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    arguments.start_log();
    match execute(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, arguments.json_errors());
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(arguments: &Arguments) -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| AgentError::Io {
            what: "start the runtime".to_owned(),
            source,
        })?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        Box::pin(arguments.execute(stop)).await
    });
    // Dropped, it would wait without a limit: for the reading of a large snapshot, say, that nobody needs any more.
    runtime.shutdown_timeout(LINGER);
    outcome
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
