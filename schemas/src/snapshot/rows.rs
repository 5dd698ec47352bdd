//! The rows of a snapshot that belong to its base.

use super::Normaliser;
use crate::boltdb::{DbFile, Rows};
use crate::{FormatError, Row, RowKey, RowSource};

/// The rows of a snapshot that belong to its base, in order.
#[derive(Debug)]
pub struct BaseRows {
    rows: Rows,
    normaliser: Normaliser,
    /// The value that is lent out: a row cannot be lent from inside a loop over its source.
    value: Vec<u8>,
}

impl BaseRows {
    /// The rows of a file that the normaliser has read.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the file is damaged.
    pub fn new(db: &DbFile, normaliser: Normaliser) -> Result<Self, FormatError> {
        Ok(Self {
            rows: db.rows()?,
            normaliser,
            value: Vec::new(),
        })
    }
}

impl RowSource for BaseRows {
    type Error = FormatError;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, FormatError> {
        let key: RowKey = loop {
            let Some(row) = self.rows.next_row()? else {
                return Ok(None);
            };
            if self.normaliser.keeps(&row)? {
                self.value.clear();
                self.value.extend_from_slice(row.value);
                break row.key;
            }
        };
        Ok(Some(Row {
            key,
            value: &self.value,
        }))
    }
}
