//! The order of a range's answer.

use std::cmp::Ordering;

use revkeep_schemas::etcd_api::{
    etcdserverpb::range_request::{SortOrder, SortTarget},
    mvccpb::KeyValue,
};

use super::quicksort::sort_by;

/// Sorts keys that stand in ascending order. A target other than the key without an order ascends. Keys that are equal
/// by the target stand as etcd leaves them.
pub(super) fn sort(kvs: &mut [KeyValue], target: SortTarget, order: SortOrder) {
    let compare = |one: &KeyValue, other: &KeyValue| -> Ordering {
        match target {
            SortTarget::Key => one.key.cmp(&other.key),
            SortTarget::Version => one.version.cmp(&other.version),
            SortTarget::Create => one.create_revision.cmp(&other.create_revision),
            SortTarget::Mod => one.mod_revision.cmp(&other.mod_revision),
            SortTarget::Value => one.value.cmp(&other.value),
        }
    };
    match (order, target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => {}
        (SortOrder::Descend, _) => sort_by(kvs, |one, other| compare(other, one)),
        (SortOrder::None | SortOrder::Ascend, _) => sort_by(kvs, compare),
    }
}
