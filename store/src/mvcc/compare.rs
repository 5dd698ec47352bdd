//! The conditions of a transaction.

use std::cmp::Ordering;

use revkeep_schemas::etcd_api::{
    etcdserverpb::{
        Compare,
        compare::{CompareResult, CompareTarget, TargetUnion},
    },
    mvccpb::KeyValue,
};

use super::{index::Span, read::Moment};
use crate::error::Result;

/// Whether all hold.
pub(super) fn all_hold(moment: &Moment<'_>, compares: &[Compare]) -> Result<bool> {
    for compare in compares {
        if !holds(moment, compare)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// etcd, `server/etcdserver/apply.go`, `applyCompare`: a condition on a range holds if it holds for every key in it; on
/// no key at all it is asked of an empty key, and one on the value never holds.
fn holds(moment: &Moment<'_>, compare: &Compare) -> Result<bool> {
    let span = Span::new(&compare.key, &compare.range_end);
    let in_index = matches!(
        compare.target(),
        CompareTarget::Version | CompareTarget::Create | CompareTarget::Mod
    );
    if in_index && known(compare) {
        return holds_in_index(moment, compare, span);
    }
    let (changes, _) = moment.changes(span, moment.current, 0);
    if changes.is_empty() {
        return Ok(compare.target() != CompareTarget::Value || !known(compare))
            .map(|possible| possible && holds_for(compare, &KeyValue::default()));
    }
    for change in changes {
        if !holds_for(compare, &moment.row(change)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the target is one that etcd knows; others compare as equal.
fn known(compare: &Compare) -> bool {
    CompareTarget::try_from(compare.target).is_ok()
}

/// The index knows created, modified and version of the newest rows: only of keys that were changed after the moment a row
/// is read.
fn holds_in_index(moment: &Moment<'_>, compare: &Compare, span: Span<'_>) -> Result<bool> {
    let (mut any, mut all) = (false, true);
    let mut changed_since = Vec::new();
    moment.visit(span, |_, history| {
        let mod_revision = history.newest().main;
        if mod_revision > moment.current {
            changed_since.extend(history.at(moment.current));
            return;
        }
        let Some((create_revision, version)) = history.live() else {
            return;
        };
        any = true;
        let kv = KeyValue {
            create_revision,
            mod_revision,
            version,
            ..KeyValue::default()
        };
        all &= holds_for(compare, &kv);
    });
    for change in changed_since {
        any = true;
        all = all && holds_for(compare, &moment.row(change)?);
    }
    Ok(if any {
        all
    } else {
        holds_for(compare, &KeyValue::default())
    })
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let union = compare.target_union.as_ref();
    // A value of another target counts as none, which is 0.
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => {
            let value = match union {
                Some(TargetUnion::Value(value)) => &**value,
                _ => &[],
            };
            (*kv.value).cmp(value)
        }
        Ok(CompareTarget::Create) => kv.create_revision.cmp(&match union {
            Some(TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Mod) => kv.mod_revision.cmp(&match union {
            Some(TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Version) => kv.version.cmp(&match union {
            Some(TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        Ok(CompareTarget::Lease) => kv.lease.cmp(&match union {
            Some(TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        }),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}
