//! Real etcd servers and etcd's own tools.

pub(crate) mod cluster;
pub(crate) mod options;
pub(crate) mod server;
pub(crate) mod tool;
pub(crate) mod version;
