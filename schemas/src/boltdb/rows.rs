//! The rows of the `key` bucket.

use super::cursor::Cursor;
use crate::{FormatError, Revision, Row, RowKey, RowSource};

/// Streams the rows of a db file in ascending order. It owns what it needs: it can be sent to another thread.
#[derive(Debug)]
pub struct Rows {
    cursor: Option<Cursor>,
}

impl Rows {
    /// Rows of the `key` bucket that `cursor` walks; none without a cursor.
    pub(super) fn new(cursor: Option<Cursor>) -> Self {
        Self { cursor }
    }

    /// Moves so that the first row of revision `from` or above comes next.
    pub fn seek(&mut self, from: Revision) -> Result<(), FormatError> {
        let key = RowKey {
            main: from,
            sub: 0,
            tombstone: false,
        };
        match &mut self.cursor {
            Some(cursor) => cursor.seek(&key.encode()),
            None => Ok(()),
        }
    }

    /// The key of the bucket's last row; the rows then start over at the first.
    pub fn last_key(&mut self) -> Result<Option<RowKey>, FormatError> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(None);
        };
        cursor.seek_last()?;
        let last = self.next_row()?.map(|row| row.key);
        if let Some(cursor) = &mut self.cursor {
            cursor.rewind();
        }
        Ok(last)
    }
}

impl RowSource for Rows {
    type Error = FormatError;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, FormatError> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(None);
        };
        let Some(entry) = cursor.advance()? else {
            return Ok(None);
        };
        let cursor = &*cursor;
        let (key, value) = cursor.borrow(&entry);
        let key = RowKey::decode(key).map_err(|_| {
            FormatError::corrupt(
                cursor.what(),
                cursor.entry_offset(),
                "a row key: main (8 bytes), '_', sub (8 bytes), and 't' for a tombstone",
                format!("{} bytes {key:02x?}", key.len()),
            )
        })?;
        Ok(Some(Row { key, value }))
    }
}
