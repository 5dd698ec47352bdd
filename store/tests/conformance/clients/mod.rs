//! Clients that people use.

mod etcd_client;
mod etcdctl;

use crate::suite::Group;

pub(crate) fn groups() -> Vec<Group> {
    vec![etcdctl::group(), etcdctl::alone(), etcd_client::group()]
}
