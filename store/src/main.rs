//! `revkeep-store`: the in-repo store. Not built yet; it says so and exits with 1.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match revkeep_store::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(std::io::stderr().lock(), "revkeep-store: {error}");
            ExitCode::FAILURE
        }
    }
}
