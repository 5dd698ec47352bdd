//! Kubernetes' objects, as its API server stores them in etcd: enough of them to say what a value is.
//!
//! A value is one of three (Kubernetes, `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` and
//! `k8s.io/apiserver/pkg/storage/value`): `k8s\0` and a `runtime.Unknown` in protobuf; JSON, as of custom resources; or
//! `k8s:enc:` and what an encryption provider made of one of them.

mod encrypted;
mod protobuf;

use serde_json::Value;

pub use encrypted::Encrypted;

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// For example `v1` or `apps/v1`.
    pub api_version: String,
    /// For example `Pod`.
    pub kind: String,
    /// Its namespace; empty for what belongs to none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which no other object ever has.
    pub uid: String,
    /// How many labels it has.
    pub labels: usize,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Recognised {
    /// An object in protobuf.
    Protobuf(Object),
    /// An object in JSON, and all of it.
    Json(Object, Value),
    /// An encrypted object.
    Encrypted(Encrypted),
}

impl Recognised {
    /// Says what a value is; `None` for what is none of Kubernetes'. Never fails: what is cut or damaged is not recognised.
    #[must_use]
    pub fn of(value: &[u8]) -> Option<Self> {
        if let Some(rest) = value.strip_prefix(protobuf::MAGIC) {
            return protobuf::read(rest).map(Self::Protobuf);
        }
        if let Some(rest) = value.strip_prefix(encrypted::PREFIX) {
            return Encrypted::read(rest).map(Self::Encrypted);
        }
        if value.first() != Some(&b'{') {
            return None;
        }
        let json: Value = serde_json::from_slice(value).ok()?;
        Some(Self::Json(of_json(&json)?, json))
    }

    /// What is known of the object, unless it is encrypted.
    #[must_use]
    pub const fn object(&self) -> Option<&Object> {
        match self {
            Self::Protobuf(object) | Self::Json(object, _) => Some(object),
            Self::Encrypted(_) => None,
        }
    }
}

fn of_json(json: &Value) -> Option<Object> {
    let text = |at: &str| {
        json.pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let labels = json.pointer("/metadata/labels").and_then(Value::as_object);
    let object = Object {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        uid: text("/metadata/uid"),
        labels: labels.map_or(0, serde_json::Map::len),
    };
    (!object.api_version.is_empty() && !object.kind.is_empty()).then_some(object)
}

#[cfg(test)]
mod tests;
