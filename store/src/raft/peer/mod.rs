//! The links between members.
//!
//! Comes in: what the consensus library, the proposer and readers have for another member. Goes out: calls of the
//! service `Peer` (`peer.proto`), and what came of them. Promises: every call names the cluster, both members and the
//! version of the protocol, and one that was meant for somebody else is refused; a link that hangs is given up and
//! dialled anew. Never: TLS, which belongs to the [`Dial`](super::Dial) and the listener.

mod call;
mod errors;
mod link;
mod links;
mod network;
mod receive;
mod send;
mod service;

/// The largest message that a member takes of another, as in etcd (etcd, `server/etcdserver/api/rafthttp/msg_codec.go`,
/// `readBytesLimit`): far above what is sent, and a bound for whoever else reaches the port.
pub(super) const MESSAGE_LIMIT_BYTES: usize = 512 << 20;

pub(super) use call::PROTOCOL;
pub(super) use errors::{is_removed, never_sent, store_error};
pub(super) use link::{Link, client_of};
pub(super) use links::Links;
pub(super) use network::Network;
pub(super) use receive::PREFIX as RECEIVED;
pub use service::PeerService;
