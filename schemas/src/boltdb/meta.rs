//! The two meta pages: where the tree starts, and which of them is in force.

use std::{fs::File, os::unix::fs::FileExt};

use super::page::{HEADER_LEN, META, PageHeader, u32_at, u64_at};
use crate::FormatError;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const META_LEN: usize = 64;
/// The bytes that the checksum covers.
const CHECKED_LEN: usize = 56;
/// Stands for "no freelist page: the free pages are those that no tree reaches".
const NO_FREELIST: u64 = u64::MAX;
/// The page sizes at which bbolt looks for the second meta when the first is damaged.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 10..=25;

/// What a meta page says (bbolt, `internal/common/meta.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Bytes of a page.
    pub(super) page_size: u32,
    /// The root page of the tree of buckets.
    pub(super) root: u64,
    /// The page of the free list, or [`NO_FREELIST`].
    pub(super) freelist: u64,
    /// One above the highest page in use.
    pub(super) high_water: u64,
    /// The transaction that wrote it: the higher of two valid metas is in force.
    pub(super) txid: u64,
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// Whether bbolt could have been run with this page size.
pub(super) fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && PAGE_SIZES.contains(&bytes.trailing_zeros())
}

impl Meta {
    /// A meta without a freelist page.
    pub(super) fn new(page_size: u32, root: u64, high_water: u64, txid: u64) -> Self {
        Self {
            page_size,
            root,
            freelist: NO_FREELIST,
            high_water,
            txid,
        }
    }

    /// The meta behind a page header, if its magic, version, checksum and page size are right.
    fn read(page: &[u8]) -> Option<Self> {
        let meta = page.get(HEADER_LEN..HEADER_LEN + META_LEN)?;
        let sound = u32_at(meta, 0)? == MAGIC
            && u32_at(meta, 4)? == VERSION
            && u64_at(meta, CHECKED_LEN)? == fnv1a(meta.get(..CHECKED_LEN)?);
        let read = Self {
            page_size: u32_at(meta, 8)?,
            root: u64_at(meta, 16)?,
            freelist: u64_at(meta, 32)?,
            high_water: u64_at(meta, 40)?,
            txid: u64_at(meta, 48)?,
        };
        (sound && is_page_size(read.page_size)).then_some(read)
    }

    /// The page header and the meta, for page `id`; the rest of the page is zeros.
    pub(super) fn encode(&self, id: u64) -> Vec<u8> {
        let header = PageHeader {
            id,
            flags: META,
            count: 0,
            overflow: 0,
        };
        let mut page = header.encode().to_vec();
        for word in [MAGIC, VERSION, self.page_size, 0] {
            page.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.root, 0, self.freelist, self.high_water, self.txid] {
            page.extend_from_slice(&word.to_le_bytes());
        }
        let sum = fnv1a(page.get(HEADER_LEN..).unwrap_or_default());
        page.extend_from_slice(&sum.to_le_bytes());
        page
    }

    /// The meta in force in a file of `len` bytes: the newer of the valid ones.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when neither is valid.
    pub(super) fn pick(file: &File, what: &str, len: u64) -> Result<Self, FormatError> {
        let at = |offset: u64| -> Result<Option<Self>, FormatError> {
            let mut page = [0; HEADER_LEN + META_LEN];
            if offset.saturating_add(page.len() as u64) > len {
                return Ok(None);
            }
            file.read_exact_at(&mut page, offset)
                .map_err(FormatError::io(format!("{what}: read meta at {offset}")))?;
            Ok(Self::read(&page))
        };
        let first = at(0)?;
        let second = if let Some(first) = first {
            let second = at(u64::from(first.page_size))?;
            second.filter(|second| second.page_size == first.page_size)
        } else {
            let mut found = None;
            for size in PAGE_SIZES.map(|bits| 1_u32 << bits) {
                found = at(u64::from(size))?.filter(|meta| meta.page_size == size);
                if found.is_some() {
                    break;
                }
            }
            found
        };
        match (first, second) {
            (Some(first), Some(second)) if second.txid > first.txid => Ok(second),
            (Some(meta), _) | (None, Some(meta)) => Ok(meta),
            (None, None) => Err(FormatError::corrupt(
                what,
                HEADER_LEN as u64,
                "a bbolt meta page of version 2 with a valid checksum, here or in the second page",
                format!("neither, in {len} bytes: not an etcd db or snapshot, or damaged"),
            )),
        }
    }
}
