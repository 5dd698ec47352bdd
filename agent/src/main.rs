//! `revkeep-agent`.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use revkeep_agent::AgentError;
use revkeep_agent::command::{Invocation, report};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long the end waits for threads that still read or write a file.
const LINGER: Duration = Duration::from_secs(1);

/// What glibc's allocator is told before it starts, which is the only time at which it listens. Buffers of some MiB are
/// made on one thread and freed on another. By itself it keeps an arena for each thread, and once it has seen a large
/// buffer freed, it keeps such buffers too, twice as much as that in each arena: more than all that is in use.
const ALLOCATOR: [(&str, &str); 2] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
];

/// Starts this program again in its own place with [`ALLOCATOR`] in the environment, unless that was set.
fn keep_memory_flat() {
    if ALLOCATOR
        .iter()
        .any(|(name, _)| env::var_os(name).is_some())
    {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut arguments = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // It comes back only with an error, and then goes on as it is: with more memory than it needs.
    let _ = again.args(arguments).envs(ALLOCATOR).exec();
}

fn main() -> ExitCode {
    keep_memory_flat();
    let mut invocation = match Invocation::parse(env::args_os()) {
        Ok(invocation) => invocation,
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
    let started = invocation.start();
    match started.and_then(|()| execute(&invocation)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, invocation.json_errors());
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(invocation: &Invocation) -> Result<(), AgentError> {
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
        Box::pin(invocation.execute(stop)).await
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
