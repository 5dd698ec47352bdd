//! The header of every answer.

use revkeep_schemas::etcd_api::etcdserverpb::ResponseHeader;

use super::Engine;

impl Engine {
    /// A header with the current revision.
    pub fn header(&self) -> ResponseHeader {
        ResponseHeader {
            revision: self.shared.mvcc.revision(),
            ..self.header_without_revision()
        }
    }

    /// A header as the answers about members have it.
    pub fn header_without_revision(&self) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.options.cluster_id,
            member_id: self.options.member_id,
            revision: 0,
            raft_term: self.leadership.borrow().term,
        }
    }

    /// Fills in who answers, and the current revision where the header has none (etcd,
    /// `server/etcdserver/api/v3rpc/header.go`).
    pub fn fill(&self, header: &mut Option<ResponseHeader>) {
        let revision = match header {
            Some(header) if header.revision != 0 => header.revision,
            _ => self.shared.mvcc.revision(),
        };
        *header = Some(ResponseHeader {
            revision,
            ..self.header_without_revision()
        });
    }
}
