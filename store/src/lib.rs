//! The replicated store of this repository: a key-value store that serves etcd's v3 API. **Not built yet.**
//!
//! In: etcd's v3 requests, later. Out: etcd's v3 answers, later.
//! Promise, once it is built: etcd's own clients, `etcdctl` and Revkeep's agent cannot tell it from etcd; HashKV is
//! equal for the same rows; a data directory can be restored from a vault.
//! Never: depends on the vault, the agent or the restore; they meet over etcd's API.
//! Next: `revkeep_schemas`, whose rows, HashKV and API it will use. Until then Revkeep is used and tested with real etcd.

/// Why [`serve`] fails: there is nothing to serve yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBuiltYet;

impl std::fmt::Display for NotBuiltYet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the store is not built yet: run etcd 3.4 to 3.7 and point revkeep-agent at it")
    }
}

impl std::error::Error for NotBuiltYet {}

/// Will serve the store. For now it fails, and says so.
pub fn serve() -> Result<(), NotBuiltYet> {
    Err(NotBuiltYet)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_does_not_pretend() {
        let error = super::serve().unwrap_err();
        assert!(error.to_string().contains("not built yet"));
    }
}
