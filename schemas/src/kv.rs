//! `mvccpb.KeyValue`: what the value of a row holds.
//!
//! | field | number | type | note |
//! |---|---|---|---|
//! | key | 1 | bytes | the only field of a tombstone |
//! | create_revision | 2 | int64 | the revision of the key's first put since it was last deleted |
//! | mod_revision | 3 | int64 | the row's own revision |
//! | version | 4 | int64 | puts since the key was created, from 1 |
//! | value | 5 | bytes | |
//! | lease | 6 | int64 | 0 for none |
//!
//! Fields stand in the order of their numbers and zero values are left out, as etcd writes them (etcd,
//! `api/mvccpb/kv.proto`); so an encoded value is equal to etcd's byte for byte. The one row that is empty, written by
//! `snapshot restore --bump-revision`, decodes to an empty key.

use crate::FormatError;

const KEY: u64 = 1;
const CREATE_REVISION: u64 = 2;
const MOD_REVISION: u64 = 3;
const VERSION: u64 = 4;
const VALUE: u64 = 5;
const LEASE: u64 = 6;
/// The first number that no field has.
const UNKNOWN: u64 = 7;

const WIRE_VARINT: u64 = 0;
const WIRE_FIXED64: u64 = 1;
const WIRE_BYTES: u64 = 2;
const WIRE_FIXED32: u64 = 5;

const KEY_TAG: u8 = tag(KEY, WIRE_BYTES);

/// A decoded row value, borrowed from the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyValue<'a> {
    /// The user's key. Empty only in the row of a bumped revision.
    pub key: &'a [u8],
    /// The revision in which the key was created.
    pub create_revision: i64,
    /// The revision in which it was last changed.
    pub mod_revision: i64,
    /// The number of puts since it was created.
    pub version: i64,
    /// The user's value.
    pub value: &'a [u8],
    /// The lease that it is attached to, or 0.
    pub lease: i64,
}

impl<'a> KeyValue<'a> {
    /// Reads a row's value. Unknown fields are skipped and the last of a repeated field counts, as protobuf asks.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] with the offset inside the value.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut kv = Self::default();
        let mut fields = Fields { bytes, offset: 0 };
        while fields.offset < bytes.len() {
            let start = fields.offset;
            let tag = fields.varint()?;
            match (tag >> 3, tag & 7) {
                (KEY, WIRE_BYTES) => kv.key = fields.bytes()?,
                (CREATE_REVISION, WIRE_VARINT) => {
                    kv.create_revision = fields.varint()?.cast_signed();
                }
                (MOD_REVISION, WIRE_VARINT) => kv.mod_revision = fields.varint()?.cast_signed(),
                (VERSION, WIRE_VARINT) => kv.version = fields.varint()?.cast_signed(),
                (VALUE, WIRE_BYTES) => kv.value = fields.bytes()?,
                (LEASE, WIRE_VARINT) => kv.lease = fields.varint()?.cast_signed(),
                (UNKNOWN.., wire) => fields.skip(wire, start)?,
                _ => {
                    return Err(corrupt(
                        start,
                        "a field of KeyValue",
                        format!("tag {tag:#x}"),
                    ));
                }
            }
        }
        Ok(kv)
    }

    /// The bytes that etcd stores for a put.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.key.len() + self.value.len() + 52);
        put_bytes(&mut out, KEY, self.key);
        put_number(&mut out, CREATE_REVISION, self.create_revision);
        put_number(&mut out, MOD_REVISION, self.mod_revision);
        put_number(&mut out, VERSION, self.version);
        put_bytes(&mut out, VALUE, self.value);
        put_number(&mut out, LEASE, self.lease);
        out
    }

    /// The bytes that etcd stores for a deletion: the key alone.
    #[must_use]
    pub fn encode_tombstone(key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(key.len() + 11);
        put_bytes(&mut out, KEY, key);
        out
    }
}

/// The user's key of a row's value, without decoding the rest and without an allocation. The empty value of a bumped
/// revision has the empty key.
///
/// # Errors
/// [`FormatError::Corrupt`] when the value does not begin with a whole key.
pub fn key_of(row_value: &[u8]) -> Result<&[u8], FormatError> {
    match row_value.split_first() {
        None => Ok(&[]),
        Some((&KEY_TAG, _)) => Fields {
            bytes: row_value,
            offset: 1,
        }
        .bytes(),
        Some(_) => KeyValue::decode(row_value).map(|kv| kv.key),
    }
}

const fn tag(field: u64, wire: u64) -> u8 {
    (field << 3 | wire).to_le_bytes()[0]
}

fn corrupt(offset: usize, expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::corrupt("KeyValue", offset as u64, expected, found)
}

fn put_varint(out: &mut Vec<u8>, number: u64) {
    prost::encoding::encode_varint(number, out);
}

fn put_number(out: &mut Vec<u8>, field: u64, number: i64) {
    if number != 0 {
        out.push(tag(field, WIRE_VARINT));
        put_varint(out, number.cast_unsigned());
    }
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(tag(field, WIRE_BYTES));
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

/// A protobuf message being read.
struct Fields<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, FormatError> {
        let start = self.offset;
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.offset) else {
                return Err(corrupt(start, "a varint", "the end"));
            };
            self.offset += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(corrupt(start, "a varint of 64 bits", "a longer one"))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], FormatError> {
        let start = self.offset;
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| start.checked_add(len));
        let taken = end.and_then(|end| self.bytes.get(start..end));
        let taken = taken.ok_or_else(|| {
            let left = self.bytes.len().saturating_sub(start);
            corrupt(start, &format!("{len} bytes"), format!("{left} bytes"))
        })?;
        self.offset += taken.len();
        Ok(taken)
    }

    fn bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let len = self.varint()?;
        self.take(len)
    }

    fn skip(&mut self, wire: u64, start: usize) -> Result<(), FormatError> {
        match wire {
            WIRE_VARINT => self.varint().map(drop),
            WIRE_FIXED64 => self.take(8).map(drop),
            WIRE_BYTES => self.bytes().map(drop),
            WIRE_FIXED32 => self.take(4).map(drop),
            _ => Err(corrupt(start, "a wire type", format!("{wire}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// The same message as prost sees it: a second opinion on the bytes.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Prost {
        #[prost(bytes = "vec", tag = "1")]
        key: Vec<u8>,
        #[prost(int64, tag = "2")]
        create_revision: i64,
        #[prost(int64, tag = "3")]
        mod_revision: i64,
        #[prost(int64, tag = "4")]
        version: i64,
        #[prost(bytes = "vec", tag = "5")]
        value: Vec<u8>,
        #[prost(int64, tag = "6")]
        lease: i64,
    }

    proptest! {
        #[test]
        fn encodes_as_protobuf_and_survives_the_round_trip(
            key in vec(any::<u8>(), 0..300), value in vec(any::<u8>(), 0..300), lease in any::<i64>(),
            numbers in any::<(u32, i64, i64)>(),
        ) {
            let kv = KeyValue {
                key: &key,
                create_revision: numbers.0.into(),
                mod_revision: numbers.1,
                version: numbers.2,
                value: &value,
                lease,
            };
            let bytes = kv.encode();
            let other = Prost {
                key: key.clone(),
                create_revision: kv.create_revision,
                mod_revision: kv.mod_revision,
                version: kv.version,
                value: value.clone(),
                lease,
            };
            prop_assert_eq!(&bytes, &prost::Message::encode_to_vec(&other));
            prop_assert_eq!(KeyValue::decode(&bytes).unwrap(), kv);
            prop_assert_eq!(key_of(&bytes).unwrap(), &key[..]);
            let tombstone = KeyValue::encode_tombstone(&key);
            prop_assert_eq!(key_of(&tombstone).unwrap(), &key[..]);
        }

        #[test]
        fn never_panics_and_accepts_what_protobuf_accepts(bytes in vec(any::<u8>(), 0..40)) {
            let _ = key_of(&bytes);
            if let (Ok(ours), Ok(theirs)) = (
                KeyValue::decode(&bytes),
                <Prost as prost::Message>::decode(&bytes[..]),
            ) {
                prop_assert_eq!(ours.key, &theirs.key[..]);
                prop_assert_eq!(ours.lease, theirs.lease);
            }
        }
    }

    #[test]
    fn an_empty_row_has_the_empty_key() {
        assert_eq!(key_of(&[]).unwrap(), b"");
        assert_eq!(KeyValue::decode(&[]).unwrap(), KeyValue::default());
    }

    #[test]
    fn a_cut_value_names_the_offset() {
        let bytes = KeyValue::encode_tombstone(b"abc");
        let error = key_of(&bytes[..4]).unwrap_err();
        assert!(
            matches!(error, FormatError::Corrupt { offset: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut bytes = KeyValue::encode_tombstone(b"k");
        bytes.extend([0x7a, 2, 1, 2, 0x40, 5]);
        assert_eq!(KeyValue::decode(&bytes).unwrap().key, b"k");
    }
}
