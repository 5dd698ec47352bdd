//! A page under construction.

use super::{
    page::{ELEMENT_LEN, HEADER_LEN, LEAF, MAX_ELEMENTS, PageHeader},
    sink::Sink,
};
use crate::FormatError;

/// Rows a leaf takes before it may leave much of its last page empty: large rows share overflow pages, as in bbolt.
const SHARING_ELEMENTS: usize = 4;

#[derive(Debug)]
struct Element {
    key_len: u32,
    value_len: u32,
    child: u64,
}

/// The elements of one leaf or branch page, gathered until it is full. Its buffers are reused for the next page.
#[derive(Debug)]
pub(super) struct Node {
    flags: u16,
    element_flags: u32,
    elements: Vec<Element>,
    data: Vec<u8>,
    last_key: usize,
}

impl Node {
    /// An empty page with these page flags, whose elements get these flags.
    pub(super) fn new(flags: u16, element_flags: u32) -> Self {
        Self {
            flags,
            element_flags,
            elements: Vec::new(),
            data: Vec::new(),
            last_key: 0,
        }
    }

    /// Whether an element of so many bytes may join; an empty page takes any.
    pub(super) fn takes(&self, len: usize, page_size: usize, fill_percent: usize) -> bool {
        let count = self.elements.len();
        if count == 0 {
            return true;
        }
        if count >= MAX_ELEMENTS {
            return false;
        }
        let used = self.used();
        let room = used.div_ceil(page_size) * page_size;
        let full = room / 100 * fill_percent;
        if used + ELEMENT_LEN + len <= full {
            return true;
        }
        if self.flags == LEAF {
            count < SHARING_ELEMENTS && used < full - full / 8
        } else {
            // A branch with one child would let the tree grow without an end.
            count < 2
        }
    }

    /// Adds a row, or with an empty value a child.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8], child: u64) {
        self.elements.push(Element {
            key_len: len32(key),
            value_len: len32(value),
            child,
        });
        self.last_key = self.data.len();
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    /// The first key, empty if there is none.
    pub(super) fn first_key(&self) -> &[u8] {
        let len = self
            .elements
            .first()
            .map_or(0, |first| first.key_len as usize);
        self.data.get(..len).unwrap_or_default()
    }

    /// The last key, empty if there is none.
    pub(super) fn last_key(&self) -> &[u8] {
        let len = self.elements.last().map_or(0, |last| last.key_len as usize);
        self.data
            .get(self.last_key..self.last_key + len)
            .unwrap_or_default()
    }

    /// Makes it an empty page again.
    pub(super) fn clear(&mut self) {
        self.elements.clear();
        self.data.clear();
    }

    fn used(&self) -> usize {
        HEADER_LEN + self.elements.len() * ELEMENT_LEN + self.data.len()
    }

    /// Writes the page and gives its number.
    pub(super) fn write(&self, sink: &mut Sink) -> Result<u64, FormatError> {
        let page_size = sink.page_size();
        let used = self.used();
        let pages = used.div_ceil(page_size);
        let overflow = u32::try_from(pages - 1);
        let overflow = overflow.map_err(|_| sink.misuse("a page with 2^32 overflow pages"))?;
        let id = sink.begin_run(pages as u64);
        let header = PageHeader {
            id,
            flags: self.flags,
            count: u16::try_from(self.elements.len()).unwrap_or(u16::MAX),
            overflow,
        };
        sink.append(&header.encode())?;
        // A position counts from its own element: the rest of the elements, then the bytes of the rows before.
        let mut position = self.elements.len() * ELEMENT_LEN;
        for element in &self.elements {
            let pos = u32::try_from(position).unwrap_or(u32::MAX);
            sink.append(&self.encode(element, pos))?;
            position += element.key_len as usize + element.value_len as usize;
            position -= ELEMENT_LEN;
        }
        sink.append(&self.data)?;
        sink.pad(pages * page_size - used)?;
        Ok(id)
    }

    fn encode(&self, element: &Element, pos: u32) -> [u8; ELEMENT_LEN] {
        let mut bytes = [0; ELEMENT_LEN];
        let (head, tail) = bytes.split_at_mut(8);
        let (first, second) = head.split_at_mut(4);
        if self.flags == LEAF {
            let (key_len, value_len) = tail.split_at_mut(4);
            first.copy_from_slice(&self.element_flags.to_le_bytes());
            second.copy_from_slice(&pos.to_le_bytes());
            key_len.copy_from_slice(&element.key_len.to_le_bytes());
            value_len.copy_from_slice(&element.value_len.to_le_bytes());
        } else {
            first.copy_from_slice(&pos.to_le_bytes());
            second.copy_from_slice(&element.key_len.to_le_bytes());
            tail.copy_from_slice(&element.child.to_le_bytes());
        }
        bytes
    }
}

/// Lengths were checked against bbolt's limits, which are below 2^31.
fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
