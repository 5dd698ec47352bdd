//! Vaults to restore from, and the command to do it with.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part of it, and a test fails by panicking"
)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use revkeep_harness::Process;
use revkeep_schemas::hashkv::HashKv;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, Checkpoint, ClusterName, SourceIdentity, Vault};

/// Bytes of a value of the large vault.
const VALUE_BYTES: usize = 4096;
/// Rows of the large vault: about 64 MiB, which takes a restore seconds.
pub(crate) const LARGE_ROWS: i64 = 16_000;

/// One row for each revision from 2 to `last`, each of a key of its own.
pub(crate) struct Rows<V> {
    next: i64,
    last: i64,
    /// The value of a revision.
    value: V,
    row: Vec<u8>,
}

impl Rows<fn(i64) -> Vec<u8>> {
    /// Values of so many bytes, not compressible to nothing, so that the vault has a size, too.
    pub(crate) fn up_to(last: i64, value_bytes: usize) -> Rows<impl Fn(i64) -> Vec<u8>> {
        Rows::with(last, move |main| {
            let mut state = main.cast_unsigned();
            let bytes = (0..value_bytes).map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 60).to_le_bytes()[0]
            });
            bytes.collect()
        })
    }
}

impl<V: Fn(i64) -> Vec<u8>> Rows<V> {
    pub(crate) const fn with(last: i64, value: V) -> Self {
        Self {
            next: 2,
            last,
            value,
            row: Vec::new(),
        }
    }
}

impl<V: Fn(i64) -> Vec<u8>> RowSource for Rows<V> {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        if self.next > self.last {
            return Ok(None);
        }
        let main = self.next;
        self.next += 1;
        self.row = KeyValue {
            key: &main.to_be_bytes(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            value: &(self.value)(main),
            lease: 0,
        }
        .encode();
        let key = RowKey {
            main: Revision(main),
            sub: 0,
            tombstone: false,
        };
        Ok(Some(Row {
            key,
            value: &self.row,
        }))
    }
}

/// Makes a vault in `place/vault` whose cluster `c` has one base at `last`, with the source's HashKV.
pub(crate) fn vault(place: &Path, last: i64, value_bytes: usize) {
    let mut hash = HashKv::new();
    let mut rows = Rows::up_to(last, value_bytes);
    while let Some(row) = rows.next_row().unwrap() {
        hash.update(&row);
    }
    let facts = BaseFacts {
        revision: Revision(last),
        etcd_version: "3.5.33".to_owned(),
        checkpoint: Some(Checkpoint {
            revision: Revision(last),
            compact_revision: Revision(-1),
            hash: hash.finish(),
        }),
        ..BaseFacts::default()
    };
    let store = async {
        let url = url(place);
        let vault = Vault::create(&url).await.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        let rows = Rows::up_to(last, value_bytes);
        timeline.write_base(facts, rows, None).await.unwrap();
    };
    // A thread of its own, since the caller may be asynchronous.
    std::thread::scope(|scope| {
        scope.spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(store));
    });
}

/// A vault that takes seconds to restore.
pub(crate) fn large_vault(place: &Path) {
    vault(place, LARGE_ROWS + 1, VALUE_BYTES);
}

pub(crate) fn url(place: &Path) -> String {
    format!("file://{}/vault", place.display())
}

pub(crate) const REVKEEP: &str = env!("CARGO_BIN_EXE_revkeep");

/// Runs `revkeep` on the vault in `place`, with `place` as its directory, to its end.
pub(crate) fn revkeep(place: &Path, arguments: &str) -> Output {
    Command::new(REVKEEP)
        .args(arguments.split(' '))
        .env("REVKEEP_VAULT", url(place))
        .current_dir(place)
        .output()
        .unwrap()
}

/// Starts `revkeep restore c --latest` with further arguments on the vault in `place`; its log is in `logs`.
pub(crate) fn start_restore(place: &Path, logs: &Path, arguments: &[&str]) -> Process {
    let all = ["restore", "c", "--latest"]
        .iter()
        .chain(arguments)
        .copied();
    let environment = [("REVKEEP_VAULT", url(place))];
    Process::spawn(Path::new(REVKEEP), all, environment, &logs.join("log")).unwrap()
}

/// What is in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The working directories of restores into `place/{target}`.
pub(crate) fn partial(place: &Path, target: &str) -> Vec<PathBuf> {
    let prefix = format!(".{target}.revkeep-partial-");
    let names = names(place).into_iter();
    names
        .filter(|name| name.starts_with(&prefix))
        .map(|name| place.join(name))
        .collect()
}
