//! A B+tree written from its leaves up.

use super::{
    node::Node,
    page::{BRANCH, LEAF, MAX_KEY_LEN, MAX_VALUE_LEN},
    sink::Sink,
};
use crate::FormatError;

/// One tree under construction: the open page of every level, leaves first. A full page is written at once and named to
/// the level above, so memory is one page per level, whatever the number of rows.
#[derive(Debug)]
pub(super) struct Tree {
    levels: Vec<Node>,
    fill_percent: usize,
}

impl Tree {
    /// An empty tree whose leaf elements get these flags.
    pub(super) fn new(element_flags: u32, fill_percent: usize) -> Self {
        Self {
            levels: vec![Node::new(LEAF, element_flags)],
            fill_percent,
        }
    }

    /// Adds an entry above all others.
    pub(super) fn put(
        &mut self,
        sink: &mut Sink,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), FormatError> {
        if key.is_empty() || key.len() > MAX_KEY_LEN || value.len() > MAX_VALUE_LEN {
            return Err(sink.misuse(format!(
                "a key of {} bytes (1 to {MAX_KEY_LEN} are possible) and a value of {} (0 to {MAX_VALUE_LEN})",
                key.len(),
                value.len()
            )));
        }
        let Some(leaf) = self.levels.first() else {
            return Err(sink.misuse("put into a tree without a leaf"));
        };
        if key <= leaf.last_key() {
            return Err(sink.misuse(format!("key {key:02x?} is not above the one before it")));
        }
        if !leaf.takes(key.len() + value.len(), sink.page_size(), self.fill_percent) {
            self.close(sink, 0)?;
        }
        if let Some(leaf) = self.levels.first_mut() {
            leaf.push(key, value, 0);
        }
        Ok(())
    }

    /// Writes all open pages, empties the tree, and gives the page of its root.
    pub(super) fn finish(&mut self, sink: &mut Sink) -> Result<u64, FormatError> {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.close(sink, level)?;
            level += 1;
        }
        let root = match self.levels.last() {
            Some(top) => top.write(sink)?,
            None => return Err(sink.misuse("finish a tree without a leaf")),
        };
        self.levels.truncate(1);
        self.levels.iter_mut().for_each(Node::clear);
        Ok(root)
    }

    /// Writes the open page of `level` and names it to the level above.
    fn close(&mut self, sink: &mut Sink, level: usize) -> Result<(), FormatError> {
        if self.levels.len() <= level + 1 {
            self.levels.push(Node::new(BRANCH, 0));
        }
        let (Some(page), Some(above)) = (self.levels.get(level), self.levels.get(level + 1)) else {
            return Ok(());
        };
        let id = page.write(sink)?;
        if !above.takes(page.first_key().len(), sink.page_size(), self.fill_percent) {
            self.close(sink, level + 1)?;
        }
        let (below, above) = self.levels.split_at_mut(level + 1);
        if let (Some(page), Some(above)) = (below.last_mut(), above.first_mut()) {
            above.push(page.first_key(), &[], id);
            page.clear();
        }
        Ok(())
    }
}
