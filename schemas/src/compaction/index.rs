//! The newest row of every key touched above a floor, in 16 bytes a key and 8 a point.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::{FormatError, Revision, Row, RowKey, kv::key_of};

/// The most points that one index answers for.
pub const MAX_POINTS: usize = 3;

/// A row's place in 64 bits: 36 of `main` above the floor, 27 of `sub`, 1 that says whether it is a tombstone. Zero is
/// no row, since `main` is above the floor.
const MAIN_BITS: u32 = 36;
const SUB_BITS: u32 = 27;

/// At most this many keys are reserved at the start, whatever the caller expects.
const MAX_RESERVED_KEYS: usize = 1 << 22;

/// The newest row of each key at or below each of a few points, for keys that have a row above the floor.
///
/// A key is known by its XXH3-128 under the caller's random seed: among a billion keys two share one with a chance of
/// about 10^-21. A key costs 16 bytes, 8 for each point, and 4 to 16 of the table: about 32 MB for a million keys and
/// one point, 48 MB for three.
#[derive(Clone, Debug)]
pub struct LiveIndex {
    seed: u64,
    floor: Revision,
    points: Vec<Revision>,
    last: Option<RowKey>,
    hashes: Vec<u128>,
    /// `points.len()` marks for each of `hashes`.
    marks: Vec<u64>,
    /// Open addressing with linear probing; a slot holds 1 + a position in `hashes`, or 0.
    slots: Vec<u32>,
}

impl LiveIndex {
    /// An index for rows above `floor`, which answers for each of `points`. It grows past `capacity_rows`, which is
    /// only what the caller expects.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] for more than [`MAX_POINTS`] points, or one below the floor.
    pub fn new(
        seed: u64,
        floor: Revision,
        points: &[Revision],
        capacity_rows: usize,
    ) -> Result<Self, FormatError> {
        if points.len() > MAX_POINTS || points.iter().any(|point| *point < floor) {
            return Err(misuse(format!(
                "asked for the points {points:?}: give at most {MAX_POINTS}, none below the floor {floor}"
            )));
        }
        let keys = capacity_rows.min(MAX_RESERVED_KEYS);
        Ok(Self {
            seed,
            floor,
            points: points.to_vec(),
            last: None,
            hashes: Vec::with_capacity(keys),
            marks: Vec::with_capacity(keys * points.len()),
            slots: vec![0; slots_for(keys)],
        })
    }

    /// The revision at and below which every key has one row at most.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// The points, in the order in which they were given.
    #[must_use]
    pub fn points(&self) -> &[Revision] {
        &self.points
    }

    /// The number of keys touched so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether no key was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The bytes that it holds in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.hashes.capacity() * 16 + self.marks.capacity() * 8 + self.slots.capacity() * 4
    }

    /// Takes the next row, in ascending order. Rows at or below the floor are passed over.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] for rows out of order, [`FormatError::Corrupt`] when the row's value has no readable
    /// key, [`FormatError::Unsupported`] for a revision 2^36 above the floor, a transaction of 2^27 changes, or 2^32
    /// keys.
    pub fn observe(&mut self, row: &Row<'_>) -> Result<(), FormatError> {
        if self.last.is_some_and(|last| last >= row.key) {
            return Err(misuse(format!(
                "row {:?} follows row {:?}: give rows in ascending order, each once",
                row.key, self.last
            )));
        }
        self.last = Some(row.key);
        if row.key.main <= self.floor {
            return Ok(());
        }
        let mark = self.mark(row.key)?;
        let hash = self.hash(key_of(row.value)?);
        let position = self.find_or_insert(hash)?;
        let start = position * self.points.len();
        for (point, slot) in self.points.iter().zip(self.marks.iter_mut().skip(start)) {
            if row.key.main <= *point {
                *slot = mark;
            }
        }
        Ok(())
    }

    /// The key of the newest row of `key` above the floor and at or below the point at that position; `None` when the
    /// key was not touched there, so that its row at or below the floor, if it has one, is the newest.
    #[must_use]
    pub fn newest(&self, key: &[u8], point: usize) -> Option<RowKey> {
        if point >= self.points.len() {
            return None;
        }
        let position = self.find(self.hash(key)).ok()?;
        let mark = *self.marks.get(position * self.points.len() + point)?;
        (mark != 0).then(|| self.row_key(mark))
    }

    /// What stands for a key here.
    pub(crate) fn hash(&self, key: &[u8]) -> u128 {
        xxh3_128_with_seed(key, self.seed)
    }

    fn mark(&self, key: RowKey) -> Result<u64, FormatError> {
        let main = key.main.0.abs_diff(self.floor.0);
        let sub = key.sub.cast_unsigned();
        if main >> MAIN_BITS != 0 || sub >> SUB_BITS != 0 {
            return Err(FormatError::unsupported(
                "index of live keys",
                format!(
                    "row {key:?} is 2^{MAIN_BITS} revisions above {}, or 2^{SUB_BITS} changes into its transaction",
                    self.floor
                ),
            ));
        }
        Ok((main << SUB_BITS | sub) << 1 | u64::from(key.tombstone))
    }

    fn row_key(&self, mark: u64) -> RowKey {
        let sub = (mark >> 1) & ((1 << SUB_BITS) - 1);
        RowKey {
            main: Revision(self.floor.0.saturating_add_unsigned(mark >> (SUB_BITS + 1))),
            sub: sub.cast_signed(),
            tombstone: mark & 1 == 1,
        }
    }

    /// The position of a hash, or the free slot where it belongs.
    fn find(&self, hash: u128) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = usize::try_from(hash & mask as u128).unwrap_or_default();
        loop {
            let Some(position) = self.slots.get(slot).and_then(|taken| taken.checked_sub(1)) else {
                return Err(slot);
            };
            let position = position as usize;
            if self.hashes.get(position) == Some(&hash) {
                return Ok(position);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn find_or_insert(&mut self, hash: u128) -> Result<usize, FormatError> {
        let free = match self.find(hash) {
            Ok(position) => return Ok(position),
            Err(free) => free,
        };
        let position = self.hashes.len();
        self.hashes.push(hash);
        self.marks.resize(self.marks.len() + self.points.len(), 0);
        let taken = u32::try_from(position + 1).map_err(|_| {
            FormatError::unsupported("index of live keys", "2^32 keys are too many")
        })?;
        if slots_for(self.hashes.len()) > self.slots.len() {
            self.grow()?;
        } else if let Some(slot) = self.slots.get_mut(free) {
            *slot = taken;
        }
        Ok(position)
    }

    /// Doubles the table and places every hash anew.
    fn grow(&mut self) -> Result<(), FormatError> {
        self.slots = vec![0; slots_for(self.hashes.len())];
        for position in 0..self.hashes.len() {
            let hash = self.hashes.get(position).copied().unwrap_or_default();
            let Err(free) = self.find(hash) else {
                continue;
            };
            let taken = u32::try_from(position + 1)
                .map_err(|_| misuse("the table outgrew its positions".to_owned()))?;
            if let Some(slot) = self.slots.get_mut(free) {
                *slot = taken;
            }
        }
        Ok(())
    }
}

/// A power of two of which `keys` fill at most three quarters.
fn slots_for(keys: usize) -> usize {
    (keys + keys / 3 + 1).next_power_of_two().max(16)
}

fn misuse(reason: String) -> FormatError {
    FormatError::misuse("index of live keys", reason)
}
