//! What the members of the replicated store say to each other and keep in their logs.
//!
//! Generated from `proto/store/*.proto`; with the features `client` and `server` the services too.

include!(concat!(env!("OUT_DIR"), "/store/revkeep.store.v1.rs"));
