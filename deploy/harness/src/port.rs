//! Free ports on 127.0.0.1.

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// Below the range from which the kernel gives ports to outgoing connections (32768 and up on Linux), so that a port
/// stays free while its server is restarted.
const RANGE: std::ops::Range<u16> = 11_000..22_000;

/// SeaweedFS serves gRPC on its HTTP port plus this.
pub(crate) const GRPC_OFFSET: u16 = 10_000;

/// A port on 127.0.0.1 that is free now, as is the one 10,000 above it, and that this process was not given before.
///
/// It is drawn at random, so that tests running side by side seldom meet; a server that loses the race anyway is
/// started again with other ports.
pub fn free_port() -> Result<u16> {
    // Two members are given ports before either has taken its own.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..200 {
        let port = rand::random_range(RANGE);
        if !given.contains(&port) && is_free(port) && is_free(port + GRPC_OFFSET) {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port found on 127.0.0.1 in {RANGE:?} after 200 tries")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
