//! A walk over one bucket in key order.

use std::{ops::Range, sync::Arc};

use super::{
    frame::Frame,
    page::{BUCKET_ELEMENT, ELEMENT_LEN, HEADER_LEN, LEAF, MAX_KEY_LEN, PageHeader, u32_at},
    window::{PageFile, Window},
};
use crate::FormatError;

/// No sound tree is deeper: with two children a branch that would be 2^64 pages. Ends a walk into a cycle.
const MAX_DEPTH: usize = 64;

/// The key and the value of one entry, borrowed from a cursor's buffer.
pub type KeyAndValue<'a> = (&'a [u8], &'a [u8]);

/// Where a bucket's tree starts.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// At a page; the second number is the offset of what names it.
    Page(u64, u64),
    /// In the bucket's own entry: a leaf page image at this offset of the file.
    Inline(Arc<[u8]>, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Leaf,
    End,
    Failed,
}

#[derive(Clone, Copy)]
enum Goal<'a> {
    First,
    Last,
    Key(&'a [u8]),
}

/// One element of a leaf page, as ranges of the window's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) flags: u32,
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The leaf page that the cursor is in: `at..at + len` of the window's bytes.
#[derive(Debug, Default)]
struct Leaf {
    at: usize,
    len: usize,
    offset: u64,
    count: usize,
    index: usize,
    /// The key that was given last from this leaf.
    before: Option<Range<usize>>,
}

/// Gives the entries of a bucket in ascending order of their keys. Entries are borrowed from the cursor's buffer, so a
/// walk copies nothing and memory stays flat.
///
/// Every page is checked on the way: its own number, its kind, that its elements lie inside it, that keys ascend within
/// and across pages and stay in the range that the branch above gives. So a damaged tree ends in an error, never in
/// a cycle. After an error the cursor gives no more entries.
#[derive(Debug)]
pub struct Cursor {
    file: Arc<PageFile>,
    root: Root,
    window: Window,
    frames: Vec<Frame>,
    depth: usize,
    leaf_depth: Option<usize>,
    leaf: Leaf,
    /// The last key of the leaf before this one.
    floor: Option<Vec<u8>>,
    state: State,
}

impl Cursor {
    pub(super) fn new(file: Arc<PageFile>, root: Root) -> Self {
        Self {
            file,
            root,
            window: Window::default(),
            frames: Vec::new(),
            depth: 0,
            leaf_depth: None,
            leaf: Leaf::default(),
            floor: None,
            state: State::Start,
        }
    }

    /// The next entry, key and value, or `None` at the end.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] for a damaged page, [`FormatError::Unsupported`] for a bucket inside the bucket, which
    /// etcd never makes, [`FormatError::Io`] when the disk fails.
    pub fn next_entry(&mut self) -> Result<Option<KeyAndValue<'_>>, FormatError> {
        let Some(entry) = self.advance()? else {
            return Ok(None);
        };
        if entry.flags & BUCKET_ELEMENT != 0 {
            self.state = State::Failed;
            let what = format!("{}: offset {}", self.file.what, self.entry_offset());
            return Err(FormatError::unsupported(
                what,
                "a bucket inside a bucket: not an etcd db",
            ));
        }
        Ok(Some(self.borrow(&entry)))
    }

    /// Moves so that [`Cursor::next_entry`] gives the first entry whose key is `key` or above.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), FormatError> {
        self.place(Goal::Key(key))
    }

    /// Moves so that [`Cursor::next_entry`] gives the last entry of the bucket.
    pub fn seek_last(&mut self) -> Result<(), FormatError> {
        self.place(Goal::Last)
    }

    /// Moves so that [`Cursor::next_entry`] gives the first entry of the bucket.
    pub fn rewind(&mut self) {
        self.state = State::Start;
    }

    /// The offset in the file of the element that was given last, for error messages of callers.
    #[must_use]
    pub fn entry_offset(&self) -> u64 {
        let given = self.leaf.index.saturating_sub(1);
        self.leaf.offset + (HEADER_LEN + given * ELEMENT_LEN) as u64
    }

    /// The name of the file.
    pub(super) fn what(&self) -> &str {
        &self.file.what
    }

    pub(super) fn borrow(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let bytes = self.window.bytes();
        (
            bytes.get(entry.key.clone()).unwrap_or_default(),
            bytes.get(entry.value.clone()).unwrap_or_default(),
        )
    }

    /// The next element, of whatever kind.
    pub(super) fn advance(&mut self) -> Result<Option<Entry>, FormatError> {
        let result = self.try_advance();
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn place(&mut self, goal: Goal<'_>) -> Result<(), FormatError> {
        let result = self.descend_from_root(goal);
        self.state = if result.is_ok() {
            State::Leaf
        } else {
            State::Failed
        };
        result
    }

    fn try_advance(&mut self) -> Result<Option<Entry>, FormatError> {
        loop {
            match self.state {
                State::Start => self.place(Goal::First)?,
                State::Leaf if self.leaf.index < self.leaf.count => return self.take().map(Some),
                State::Leaf => self.next_leaf()?,
                State::End => return Ok(None),
                State::Failed => {
                    return Err(FormatError::misuse(
                        self.file.what.clone(),
                        "read on after the cursor had failed",
                    ));
                }
            }
        }
    }

    fn take(&mut self) -> Result<Entry, FormatError> {
        let entry = self.element(self.leaf.index)?;
        let bytes = self.window.bytes();
        if let Some(before) = &self.leaf.before
            && bytes.get(entry.key.clone()) <= bytes.get(before.clone())
        {
            return Err(self.disorder("a key above the one before it"));
        }
        self.leaf.before = Some(entry.key.clone());
        self.leaf.index += 1;
        Ok(entry)
    }

    #[cold]
    fn disorder(&self, expected: &str) -> FormatError {
        let place = self.leaf.offset + (HEADER_LEN + self.leaf.index * ELEMENT_LEN) as u64;
        self.file.corrupt(place, expected, "a key out of order")
    }

    fn element(&self, index: usize) -> Result<Entry, FormatError> {
        let leaf = &self.leaf;
        let head = HEADER_LEN + index * ELEMENT_LEN;
        let page = self
            .window
            .bytes()
            .get(leaf.at..leaf.at + leaf.len)
            .unwrap_or_default();
        let read = || {
            let raw = page.get(head..head + ELEMENT_LEN)?;
            let pos = u32_at(raw, 4)? as usize;
            let key_len = u32_at(raw, 8)? as usize;
            let key = head.checked_add(pos)?;
            let value = key.checked_add(key_len)?;
            let end = value.checked_add(u32_at(raw, 12)? as usize)?;
            let sound = end <= page.len()
                && pos >= (leaf.count - index) * ELEMENT_LEN
                && (1..=MAX_KEY_LEN).contains(&key_len);
            sound.then(|| Entry {
                flags: u32_at(raw, 0).unwrap_or_default(),
                key: leaf.at + key..leaf.at + value,
                value: leaf.at + value..leaf.at + end,
            })
        };
        read().ok_or_else(|| {
            self.file.corrupt(
                leaf.offset + head as u64,
                "a leaf element whose key (1 to 32768 bytes) and value lie in its page",
                "one that leaves it",
            )
        })
    }

    /// Leaves a leaf that is used up: up to the first branch that has another child, and down again.
    fn next_leaf(&mut self) -> Result<(), FormatError> {
        if let Some(last) = &self.leaf.before {
            let floor = self.floor.get_or_insert_default();
            floor.clear();
            floor.extend_from_slice(self.window.bytes().get(last.clone()).unwrap_or_default());
        }
        while let Some(frame) = self
            .depth
            .checked_sub(1)
            .and_then(|top| self.frames.get_mut(top))
        {
            if frame.advance() {
                let (child, from) = frame.child(&self.file)?;
                return self.descend(child, from, Goal::First);
            }
            self.depth -= 1;
        }
        self.state = State::End;
        Ok(())
    }

    fn descend_from_root(&mut self, goal: Goal<'_>) -> Result<(), FormatError> {
        self.depth = 0;
        self.floor = None;
        match self.root.clone() {
            Root::Page(id, from) => self.descend(id, from, goal),
            Root::Inline(bytes, offset) => {
                self.window.hold(&bytes);
                let header = PageHeader::read(&bytes).filter(|header| header.flags == LEAF);
                let header = header.ok_or_else(|| {
                    self.file.corrupt(
                        offset,
                        "the leaf page of an inline bucket",
                        "something else",
                    )
                })?;
                self.enter_leaf(header, 0..bytes.len(), offset, goal)
            }
        }
    }

    /// Goes from page `id` down to a leaf. Branches are read by themselves, so that they do not disturb the window,
    /// which reads leaves ahead.
    fn descend(&mut self, mut id: u64, mut from: u64, goal: Goal<'_>) -> Result<(), FormatError> {
        let file = Arc::clone(&self.file);
        loop {
            let offset = file.offset_of(id, from)?;
            let probed = self
                .leaf_depth
                .is_none_or(|leaf_depth| self.depth < leaf_depth);
            if probed {
                if self.depth >= MAX_DEPTH {
                    return Err(file.corrupt(offset, "a leaf page", "the 65th level: a cycle"));
                }
                if self.frames.len() <= self.depth {
                    self.frames.resize_with(self.depth + 1, Frame::default);
                }
                if let Some(frame) = self.frames.get_mut(self.depth)
                    && frame.load(&file, id, from)?
                {
                    match goal {
                        Goal::First => {}
                        Goal::Last => frame.choose_last(),
                        Goal::Key(key) => frame.choose(&file, key)?,
                    }
                    (id, from) = frame.child(&file)?;
                    self.depth += 1;
                    continue;
                }
            }
            let range = self.window.fill(&file, offset, file.page_size)?;
            let page = self.window.bytes().get(range).unwrap_or_default();
            let (header, len) = file.check_header(page, id, offset)?;
            if header.flags == LEAF {
                self.leaf_depth = Some(self.depth);
                let range = self.window.fill(&file, offset, len)?;
                return self.enter_leaf(header, range, offset, goal);
            }
            if probed {
                return Err(file.corrupt(
                    offset,
                    "a leaf page",
                    "one that changed while it was read",
                ));
            }
            self.leaf_depth = None;
        }
    }

    fn enter_leaf(
        &mut self,
        header: PageHeader,
        range: Range<usize>,
        offset: u64,
        goal: Goal<'_>,
    ) -> Result<(), FormatError> {
        let count = usize::from(header.count);
        let room = range.len().saturating_sub(HEADER_LEN) / ELEMENT_LEN;
        if count > room || (count == 0 && self.depth > 0) {
            let expected = format!("at most {room} elements, and one at least below a branch");
            return Err(self.file.corrupt(offset + 10, expected, count.to_string()));
        }
        self.leaf = Leaf {
            at: range.start,
            len: range.len(),
            offset,
            count,
            index: 0,
            before: None,
        };
        if count > 0 {
            self.check_bounds()?;
        }
        self.leaf.index = match goal {
            Goal::First => 0,
            Goal::Last => count.saturating_sub(1),
            Goal::Key(key) => self.lower_bound(key)?,
        };
        Ok(())
    }

    /// The keys of a leaf lie above those of the leaf before and in the range that the branch above it names.
    fn check_bounds(&self) -> Result<(), FormatError> {
        let bytes = self.window.bytes();
        let first = bytes.get(self.element(0)?.key).unwrap_or_default();
        let last = bytes
            .get(self.element(self.leaf.count - 1)?.key)
            .unwrap_or_default();
        if self.floor.as_deref().is_some_and(|floor| first <= floor) {
            return Err(self.disorder("a first key above the last of the leaf before"));
        }
        if let Some(frame) = self
            .depth
            .checked_sub(1)
            .and_then(|top| self.frames.get(top))
        {
            let above = frame.upper(&self.file)?.is_some_and(|upper| last >= upper);
            if above || first < frame.lower(&self.file)? {
                return Err(self.disorder("keys in the range that the branch above names"));
            }
        }
        Ok(())
    }

    fn lower_bound(&self, key: &[u8]) -> Result<usize, FormatError> {
        let (mut low, mut high) = (0, self.leaf.count);
        while low < high {
            let middle = low.midpoint(high);
            let entry = self.element(middle)?;
            if self.window.bytes().get(entry.key).unwrap_or_default() < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
