//! etcd's API as JSON over HTTP/1.1: `POST /v3/kv/put` and its sisters.
//!
//! Every request is turned into the gRPC message it stands for and given to the same services that gRPC clients reach, so
//! that checks, identity and counters are the same (etcd does so with grpc-gateway). Names are those of the protobuf
//! files, 64-bit numbers are strings, bytes are base64, what has its default value is left out. Streams are one JSON
//! object a line: `{"result":{…}}` or, at the end, `{"error":{…}}`.

mod answer;
mod call;
mod codec;
mod messages;
mod routes;

pub use call::Gateway;
