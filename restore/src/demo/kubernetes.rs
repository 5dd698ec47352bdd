//! Objects that look like what a Kubernetes API server stores.
//!
//! An object is stored as the four bytes `k8s\0` and a protobuf message that names its type and carries its bytes
//! (Kubernetes, apimachinery/pkg/runtime/serializer/protobuf, message `Unknown`); the object itself begins with its
//! metadata (apimachinery/pkg/apis/meta/v1, message `ObjectMeta`).

use prost::Message;
use rand::{Rng, RngExt};

const MAGIC: &[u8] = b"k8s\0";

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
struct Object {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    /// Stands for the specification and the status.
    #[prost(bytes = "vec", tag = "2")]
    body: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
}

/// A resource of the API and where its objects live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// As in the key: `/registry/{plural}/{namespace}/{name}`.
    pub(super) plural: &'static str,
    api_version: &'static str,
    kind: &'static str,
    /// The usual size of an object, in bytes.
    body_bytes: usize,
}

/// What the workload writes, the most frequent first.
pub(super) const RESOURCES: [Resource; 5] = [
    Resource {
        plural: "pods",
        api_version: "v1",
        kind: "Pod",
        body_bytes: 1800,
    },
    Resource {
        plural: "configmaps",
        api_version: "v1",
        kind: "ConfigMap",
        body_bytes: 900,
    },
    Resource {
        plural: "endpointslices",
        api_version: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        body_bytes: 600,
    },
    Resource {
        plural: "deployments",
        api_version: "apps/v1",
        kind: "Deployment",
        body_bytes: 1500,
    },
    Resource {
        plural: "secrets",
        api_version: "v1",
        kind: "Secret",
        body_bytes: 500,
    },
];

impl Resource {
    /// The key of an object.
    pub(super) fn key(self, namespace: &str, name: &str) -> String {
        format!("/registry/{}/{namespace}/{name}", self.plural)
    }

    /// A value for it.
    pub(super) fn object(self, namespace: &str, name: &str, random: &mut impl Rng) -> Vec<u8> {
        let mut body = vec![0; self.body_bytes];
        random.fill(&mut body[..]);
        let object = Object {
            metadata: Some(ObjectMeta {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                uid: uid(random),
            }),
            body,
        };
        let unknown = Unknown {
            type_meta: Some(TypeMeta {
                api_version: self.api_version.to_owned(),
                kind: self.kind.to_owned(),
            }),
            raw: object.encode_to_vec(),
        };
        let mut value = MAGIC.to_vec();
        value.extend(unknown.encode_to_vec());
        value
    }
}

/// A version 4 UUID.
fn uid(random: &mut impl Rng) -> String {
    let bits: u128 = random.random();
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let mut text = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn an_object_says_what_it_is() {
        let mut random = StdRng::seed_from_u64(1);
        let value = RESOURCES[3].object("shop", "web", &mut random);
        let unknown = Unknown::decode(value.strip_prefix(MAGIC).unwrap()).unwrap();
        assert_eq!(unknown.type_meta.unwrap().kind, "Deployment");
        let metadata = Object::decode(&unknown.raw[..]).unwrap().metadata.unwrap();
        assert_eq!(
            (metadata.namespace.as_str(), metadata.name.as_str()),
            ("shop", "web")
        );
        let uid: Vec<_> = metadata.uid.split('-').map(str::len).collect();
        assert_eq!(uid, [8, 4, 4, 4, 12]);
        assert!(metadata.uid.split('-').nth(2).unwrap().starts_with('4'));
    }
}
