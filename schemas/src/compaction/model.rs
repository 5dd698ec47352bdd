//! The plain model: a whole history in memory, and the rules as they are said in words. Tests compare the streaming
//! forms with it.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use crate::{
    Revision, RowBuf, RowKey,
    hashkv::TombstoneRule,
    kv::{KeyValue, key_of},
};

/// One change of a transaction: a key, and whether it is put (or else deleted, where it lives).
pub(crate) type Change = (u8, bool);

/// Rows of a history, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Model(pub(crate) Vec<RowBuf>);

impl Model {
    /// Runs transactions from revision 2 on, as etcd would; one that changes nothing takes no revision.
    pub(crate) fn run(transactions: &[Vec<Change>]) -> Self {
        let mut rows = Vec::new();
        let mut live = BTreeMap::<u8, (i64, i64)>::new();
        let mut main = 2;
        for changes in transactions {
            let mut sub = 0;
            for &(key, put) in changes {
                let name = [b'k', key];
                let value = if put {
                    let (created, version) = live.entry(key).or_insert((main, 0));
                    *version += 1;
                    KeyValue {
                        key: &name,
                        create_revision: *created,
                        mod_revision: main,
                        version: *version,
                        value: b"value",
                        lease: 0,
                    }
                    .encode()
                } else if live.remove(&key).is_some() {
                    KeyValue::encode_tombstone(&name)
                } else {
                    continue;
                };
                let key = RowKey {
                    main: Revision(main),
                    sub,
                    tombstone: !put,
                };
                rows.push(RowBuf {
                    key,
                    value: value.into(),
                });
                sub += 1;
            }
            main += i64::from(sub > 0);
        }
        Self(rows)
    }

    /// Whether some row of this user key stands between `row` and the end of revision `at`.
    fn superseded(&self, row: &RowBuf, at: Revision) -> bool {
        let name = key_of(&row.value).unwrap();
        self.0.iter().any(|other| {
            other.key > row.key && other.key.main <= at && key_of(&other.value).unwrap() == name
        })
    }

    fn live(&self, row: &RowBuf, at: Revision) -> bool {
        row.key.main <= at && !row.key.tombstone && !self.superseded(row, at)
    }

    /// Whether the row is in etcd's keep set at a revision: by the newer rule a key that was deleted exactly there is
    /// not, whatever follows.
    fn kept(&self, row: &RowBuf, at: Revision, rule: TombstoneRule) -> bool {
        let name = key_of(&row.value).unwrap();
        let ended = |other: &RowBuf| {
            other.key.tombstone && other.key.main == at && key_of(&other.value).unwrap() == name
        };
        self.live(row, at) && !(rule == TombstoneRule::Skipped && self.0.iter().any(ended))
    }

    /// What compaction leaves.
    pub(crate) fn compact(&self, at: Revision, rule: TombstoneRule) -> Self {
        let stays = |row: &&RowBuf| {
            row.key.main > at
                || self.live(row, at)
                || (rule == TombstoneRule::Skipped && row.key.tombstone && row.key.main == at)
        };
        Self(self.0.iter().filter(stays).cloned().collect())
    }

    /// HashKV over these rows at R and C.
    pub(crate) fn hash(
        &self,
        revision: Revision,
        compacted: Option<Revision>,
        rule: TombstoneRule,
    ) -> u32 {
        let any_live = self.0.iter().any(|row| self.kept(row, revision, rule));
        let compacted = compacted.unwrap_or(Revision(-1));
        let mut bytes = b"key".to_vec();
        for row in &self.0 {
            let above = row.key.main > revision;
            let purged = row.key.main <= compacted && any_live && !self.kept(row, revision, rule);
            let skipped =
                rule == TombstoneRule::Skipped && row.key.tombstone && row.key.main == compacted;
            if !above && !purged && !skipped {
                bytes.extend_from_slice(&row.key.encode());
                bytes.extend_from_slice(&row.value);
            }
        }
        crc32c(&bytes)
    }
}

/// CRC-32C bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    !crc
}

/// Histories of few keys, with deletions, and with keys changed more than once in a transaction.
pub(crate) fn histories() -> impl Strategy<Value = Model> {
    let change = (0..4_u8, prop::bool::weighted(0.55));
    vec(vec(change, 1..4), 0..24).prop_map(|transactions| Model::run(&transactions))
}

pub(crate) fn rules() -> impl Strategy<Value = TombstoneRule> {
    prop_oneof![Just(TombstoneRule::Counted), Just(TombstoneRule::Skipped)]
}
