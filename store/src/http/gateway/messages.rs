//! JSON to protobuf and back, by the descriptors of etcd's API.

use bytes::{Bytes, BytesMut};
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

/// Takes the next JSON value off the front of `buffer`; `None` when more bytes are needed for it.
pub(super) fn next_value(buffer: &mut BytesMut) -> Result<Option<Value>, String> {
    let mut values = Deserializer::from_slice(buffer).into_iter::<Value>();
    match values.next() {
        None => {
            buffer.clear();
            Ok(None)
        }
        Some(Ok(value)) => {
            let used = values.byte_offset();
            drop(buffer.split_to(used));
            Ok(Some(value))
        }
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(error.to_string()),
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
        let mut buffer = BytesMut::from(&br#"{"a":1} {"b""#[..]);
        assert_eq!(
            next_value(&mut buffer).unwrap(),
            Some(serde_json::json!({"a": 1}))
        );
        assert_eq!(next_value(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(b":2}\n");
        assert_eq!(
            next_value(&mut buffer).unwrap(),
            Some(serde_json::json!({"b": 2}))
        );
        assert_eq!(next_value(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(b"{bad");
        assert!(next_value(&mut buffer).is_err());
    }
}
