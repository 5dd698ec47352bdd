//! A server that speaks Google's storage: fake-gcs-server behind a shim.
//!
//! The client speaks the XML API, and the server knows conditions in the JSON API alone. In: the XML API's requests for
//! one object or a listing. Out: the same by the JSON API. Never: multipart uploads, copies, signatures.

mod server;
mod shim;

pub use server::FakeGcs;
