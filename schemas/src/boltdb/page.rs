//! The page header, and little-endian numbers at offsets.

/// Bytes of a page header, of a leaf element and of a branch element.
pub(super) const HEADER_LEN: usize = 16;
/// Bytes of one element of a leaf or branch page.
pub(super) const ELEMENT_LEN: usize = 16;
/// bbolt refuses longer keys (`MaxKeySize`), and empty ones.
pub(super) const MAX_KEY_LEN: usize = 32_768;
/// bbolt refuses longer values (`MaxValueSize`).
pub(super) const MAX_VALUE_LEN: usize = (1 << 31) - 2;
/// A page's count is 16 bits, and 0xFFFF has a meaning of its own on freelist pages.
pub(super) const MAX_ELEMENTS: usize = 0xFFFE;
/// Pages 0 and 1 are the metas; trees live at this page or above.
pub(super) const FIRST_TREE_PAGE: u64 = 2;

/// Flag of a branch page.
pub(super) const BRANCH: u16 = 0x01;
/// Flag of a leaf page.
pub(super) const LEAF: u16 = 0x02;
/// Flag of a meta page.
pub(super) const META: u16 = 0x04;
/// Flag of a leaf element whose value is a bucket.
pub(super) const BUCKET_ELEMENT: u32 = 0x01;

/// The 16 bytes in front of every page (bbolt, `internal/common/page.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// The page's number: its offset divided by the page size; 0 in an inline bucket.
    pub(super) id: u64,
    /// Exactly one of the page flags.
    pub(super) flags: u16,
    /// The number of elements.
    pub(super) count: u16,
    /// How many further pages belong to this one.
    pub(super) overflow: u32,
}

impl PageHeader {
    /// Reads the header at the front of `page`; `None` if there are fewer than 16 bytes.
    pub(super) fn read(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(page, 0)?,
            flags: u16_at(page, 8)?,
            count: u16_at(page, 10)?,
            overflow: u32_at(page, 12)?,
        })
    }

    /// The header's bytes.
    pub(super) fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (id, rest) = bytes.split_at_mut(8);
        id.copy_from_slice(&self.id.to_le_bytes());
        let (flags, rest) = rest.split_at_mut(2);
        flags.copy_from_slice(&self.flags.to_le_bytes());
        let (count, overflow) = rest.split_at_mut(2);
        count.copy_from_slice(&self.count.to_le_bytes());
        overflow.copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }
}

/// The u16 at `offset`, if it is inside.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The u32 at `offset`, if it is inside.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The u64 at `offset`, if it is inside.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}
