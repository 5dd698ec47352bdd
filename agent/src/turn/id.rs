//! The id of an agent: the same after a restart, so that it goes on at once where it uploaded before.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::state_dir::create_private;

const FILE: &str = "agent-id";
/// Where Linux tells the host's name.
const HOST: &str = "/proc/sys/kernel/hostname";

/// The id in the state directory, made there once; without such a directory it is made of the host's name and the endpoints.
pub(crate) fn agent_id(state_dir: Option<&Path>, endpoints: &[String]) -> u64 {
    let read = |dir: &Path| {
        let text = fs::read_to_string(dir.join(FILE)).ok()?;
        u64::from_str_radix(text.trim(), 16)
            .ok()
            .filter(|id| *id != 0)
    };
    let Some(dir) = state_dir else {
        let host = fs::read_to_string(HOST).unwrap_or_default();
        return hash(&format!("{host}\n{}", endpoints.join("\n")));
    };
    if let Some(id) = read(dir) {
        return id;
    }
    let id = rand::random::<u64>().max(1);
    let path = dir.join(FILE);
    let write = || {
        use std::io::Write;
        create_private(&path)?.write_all(format!("{id:016x}\n").as_bytes())
    };
    if let Err(error) = write() {
        tracing::debug!(%error, "the agent's id was not written; the next start has another one");
    }
    id
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    let bytes = digest.first_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_the_same_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let id = agent_id(Some(dir.path()), &[]);
        assert_eq!(agent_id(Some(dir.path()), &["x".to_owned()]), id);
        assert_ne!(agent_id(Some(other.path()), &[]), id);
        fs::write(dir.path().join(FILE), "damaged").unwrap();
        assert_ne!(agent_id(Some(dir.path()), &[]), id);
        let endpoints = ["a".to_owned()];
        assert_eq!(agent_id(None, &endpoints), agent_id(None, &endpoints));
        assert_ne!(agent_id(None, &endpoints), agent_id(None, &[]));
    }
}
