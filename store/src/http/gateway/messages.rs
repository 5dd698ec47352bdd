//! JSON to protobuf and back, by the descriptors of etcd's API.

use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Deserializer, Value};

/// Encodes one JSON object as `kind`. Fields it does not know are passed over, as etcd's gateway does.
pub(super) fn encode(kind: &MessageDescriptor, json: Value) -> Result<Bytes, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    DynamicMessage::deserialize_with_options(kind.clone(), json, &options)
        .map(|message| message.encode_to_vec().into())
        .map_err(|error| error.to_string())
}

/// Writes an encoded message of `kind` as JSON.
pub(super) fn decode(kind: &MessageDescriptor, message: Bytes) -> Result<Vec<u8>, String> {
    let message =
        DynamicMessage::decode(kind.clone(), message).map_err(|error| error.to_string())?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(true)
        .skip_default_fields(true);
    let mut json = Vec::new();
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
        .map_err(|error| error.to_string())?;
    Ok(json)
}

/// JSON values one after the other, cut out of bytes as these arrive. However small the pieces in which a value comes, its
/// bytes are looked at once, and at most twice more to find out early that it is none.
#[derive(Debug, Default)]
pub(super) struct Values {
    buffer: BytesMut,
    /// How many bytes of the value in front were looked at.
    seen: usize,
    /// How many objects and lists are open behind them.
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// How many bytes of an unfinished value were parsed in vain.
    tried: usize,
}

impl Values {
    /// More bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for the rest of their value.
    pub(super) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Takes the next value; `None` when more bytes are needed for it.
    pub(super) fn next(&mut self) -> Result<Option<Value>, String> {
        if self.seen == 0 {
            let space = self
                .buffer
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace());
            self.buffer.advance(space.count());
        }
        let Some(&first) = self.buffer.first() else {
            return Ok(None);
        };
        if !matches!(first, b'{' | b'[' | b'"') {
            // No message, whatever it is.
            return self.parse();
        }
        if let Some(end) = self.end() {
            let value = self.buffer.split_to(end);
            *self = Self {
                buffer: std::mem::take(&mut self.buffer),
                ..Self::default()
            };
            return serde_json::from_slice(&value)
                .map(Some)
                .map_err(|error| error.to_string());
        }
        if self.buffer.len() < self.tried.saturating_mul(2) {
            return Ok(None);
        }
        self.tried = self.buffer.len();
        self.parse()
    }

    /// Where the value in front ends, if that is here.
    fn end(&mut self) -> Option<usize> {
        for &byte in self.buffer.iter().skip(self.seen) {
            self.seen += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth == 0 && !self.in_text {
                return Some(self.seen);
            }
        }
        None
    }

    fn parse(&mut self) -> Result<Option<Value>, String> {
        let mut values = Deserializer::from_slice(&self.buffer).into_iter::<Value>();
        match values.next() {
            None => Ok(None),
            Some(Ok(value)) => {
                let used = values.byte_offset();
                self.buffer.advance(used);
                Ok(Some(value))
            }
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use revkeep_schemas::etcd_api::FILE_DESCRIPTOR_SET;

    use super::*;

    fn kind(name: &str) -> MessageDescriptor {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .unwrap()
            .get_message_by_name(name)
            .unwrap()
    }

    #[test]
    fn both_spellings_of_a_name_are_read_and_the_original_is_written() {
        let range = kind("etcdserverpb.RangeRequest");
        let written = r#"{"key":"Zm9v","range_end":"Zm9w","limit":"3","sort_order":"ASCEND"}"#;
        for read in [
            written,
            r#"{"key":"Zm9v","rangeEnd":"Zm9w","limit":3,"sortOrder":1,"unknown":{}}"#,
        ] {
            let message = encode(&range, serde_json::from_str(read).unwrap()).unwrap();
            assert_eq!(decode(&range, message).unwrap(), written.as_bytes());
        }
    }

    #[test]
    fn values_are_taken_one_by_one_as_they_arrive() {
        let mut values = Values::default();
        values.extend(br#"{"a":1} {"b""#);
        assert_eq!(values.next().unwrap(), Some(serde_json::json!({"a": 1})));
        assert_eq!(values.next().unwrap(), None);
        values.extend(b":2}\n");
        assert_eq!(values.next().unwrap(), Some(serde_json::json!({"b": 2})));
        assert_eq!(values.next().unwrap(), None);
        assert_eq!(values.pending(), 0);
        values.extend(b"{bad");
        assert!(values.next().is_err());
    }

    #[test]
    fn a_value_ends_where_json_says() {
        let written = r#" {"a":"}\"\\","b":[{"c":"]"},{}]}[1,"\\"]"x{" {"#;
        let mut values = Values::default();
        let mut found = Vec::new();
        for byte in written.bytes() {
            values.extend(&[byte]);
            found.extend(values.next().unwrap());
        }
        let expected = [
            serde_json::json!({"a": "}\"\\", "b": [{"c": "]"}, {}]}),
            serde_json::json!([1, "\\"]),
            serde_json::json!("x{"),
        ];
        assert_eq!(found, expected);
        assert_eq!(values.pending(), 1);
    }

    /// Parsed anew with every byte it would take hours.
    #[test]
    fn a_value_in_small_pieces_costs_no_more() {
        let text = "x".repeat(1 << 20);
        let start = std::time::Instant::now();
        let mut values = Values::default();
        for byte in format!(r#"{{"a":"{text}"}}"#).bytes() {
            assert_eq!(values.next().unwrap(), None);
            values.extend(&[byte]);
        }
        let expected = serde_json::json!({"a": text});
        assert_eq!(values.next().unwrap(), Some(expected));
        assert!(start.elapsed().as_secs() < 30);
    }

    #[test]
    fn what_is_no_message_is_found_out_at_once() {
        for bad in ["no json", "]", "{]", r#"{"a" 1"#, "{1"] {
            let mut values = Values::default();
            values.extend(bad.as_bytes());
            assert!(values.next().is_err(), "{bad}");
        }
    }
}
