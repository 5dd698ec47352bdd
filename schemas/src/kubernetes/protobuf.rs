//! `runtime.Unknown` and the `ObjectMeta` in it.
//!
//! Field numbers: Kubernetes, `k8s.io/apimachinery/pkg/runtime/generated.proto` and
//! `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`. The metadata is field 1 of every object that the API server stores.

use std::collections::HashMap;

use prost::Message;

use super::Object;

/// What begins a value in protobuf.
pub(super) const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(map = "string, string", tag = "11")]
    labels: HashMap<String, String>,
}

/// Reads what follows the magic.
pub(super) fn read(bytes: &[u8]) -> Option<Object> {
    let unknown = Unknown::decode(bytes).ok()?;
    let type_meta = unknown.type_meta.filter(|meta| !meta.kind.is_empty())?;
    // A kind whose first field is something else still has a kind.
    let metadata = Raw::decode(unknown.raw.as_slice())
        .ok()
        .and_then(|raw| raw.metadata);
    let metadata = metadata.unwrap_or_default();
    Some(Object {
        api_version: type_meta.api_version,
        kind: type_meta.kind,
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        labels: metadata.labels.len(),
    })
}
