//! `revkeep-store`: one member of the replicated store.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(
        std::io::stderr().lock(),
        "revkeep-store: the store is not built yet: run etcd 3.4 to 3.7 and point revkeep-agent at it"
    );
    ExitCode::FAILURE
}
