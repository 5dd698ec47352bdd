//! SQLite and PostgreSQL behind one face: the same SQL text, the same few types of values.
//!
//! Both take `$1` for a parameter, and every column is an integer of 64 bits, a text or bytes, so a query is written once.
//! What differs is in the migrations, and in how a transaction begins.

mod address;
mod error;
mod insert;
mod migrations;
mod pool;
mod row;
mod transaction;
mod value;

pub use address::CatalogUrl;
pub(crate) use insert::Table;
pub(crate) use pool::{Access, Pool};
pub(crate) use row::Row;
pub(crate) use transaction::Transaction;
pub(crate) use value::{Value, int};
