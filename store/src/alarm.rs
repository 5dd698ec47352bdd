//! Alarms: what is so wrong with a member that all of them must refuse writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use prost::Message as _;
use revkeep_schemas::etcd_api::etcdserverpb::alarm_request::AlarmAction;
use revkeep_schemas::etcd_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType,
};

use crate::backend::{Backend, Bucket};
use crate::error::{Result, StoreError};

/// The raised alarms, the same on every member. The bucket `alarm` is etcd's: the key is the encoded `AlarmMember`, the
/// value is empty (etcd, `server/etcdserver/api/v3alarm/alarms.go`).
#[derive(Debug)]
pub struct Alarms {
    backend: Arc<Backend>,
    /// Kind and member.
    raised: RwLock<BTreeSet<(i32, u64)>>,
}

impl Alarms {
    /// Reads the bucket.
    ///
    /// # Errors
    /// An entry that is no alarm.
    pub fn open(backend: Arc<Backend>) -> Result<Self> {
        let alarms = Self {
            backend,
            raised: RwLock::default(),
        };
        alarms.reload()?;
        Ok(alarms)
    }

    /// Reads the bucket again, after a snapshot has replaced it.
    ///
    /// # Errors
    /// An entry that is no alarm.
    pub fn reload(&self) -> Result<()> {
        let mut raised = BTreeSet::new();
        for key in self.backend.entries(Bucket::Alarm)?.into_keys() {
            let alarm = AlarmMember::decode(key.clone()).map_err(|error| {
                StoreError::damaged(
                    format!("bucket alarm, key {:?}", key.escape_ascii().to_string()),
                    error.to_string(),
                )
            })?;
            raised.insert((alarm.alarm, alarm.member_id));
        }
        *self.raised.write() = raised;
        Ok(())
    }

    /// The raised alarms of a kind; [`AlarmType::None`] for all.
    pub fn list(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let raised = self.raised.read();
        let of_kind = |alarm: &&(i32, u64)| kind == AlarmType::None || alarm.0 == kind as i32;
        raised
            .iter()
            .filter(of_kind)
            .map(|&(alarm, member_id)| AlarmMember { member_id, alarm })
            .collect()
    }

    /// Whether an alarm of this kind, not [`AlarmType::None`], is raised for any member.
    pub fn is_raised(&self, kind: AlarmType) -> bool {
        let raised = self.raised.read();
        raised.iter().any(|(raised, _)| *raised == kind as i32)
    }

    /// Applies a request.
    pub(crate) fn apply(&self, request: &AlarmRequest) -> AlarmResponse {
        let alarms = match request.action() {
            AlarmAction::Get => self.list(request.alarm()),
            AlarmAction::Activate => self.raise(request.member_id, request.alarm()),
            AlarmAction::Deactivate => self.clear(request.member_id, request.alarm()),
        };
        AlarmResponse {
            header: None,
            alarms,
        }
    }

    fn raise(&self, member_id: u64, kind: AlarmType) -> Vec<AlarmMember> {
        if kind == AlarmType::None {
            return Vec::new();
        }
        let alarm = AlarmMember {
            member_id,
            alarm: kind.into(),
        };
        if self.raised.write().insert((alarm.alarm, member_id)) {
            self.backend
                .put(Bucket::Alarm, alarm.encode_to_vec().into(), Bytes::new());
            tracing::warn!(
                alarm = kind.as_str_name(),
                member = format_args!("{member_id:x}"),
                "alarm raised"
            );
        }
        vec![alarm]
    }

    fn clear(&self, member_id: u64, kind: AlarmType) -> Vec<AlarmMember> {
        let alarm = AlarmMember {
            member_id,
            alarm: kind.into(),
        };
        if !self.raised.write().remove(&(alarm.alarm, member_id)) {
            return Vec::new();
        }
        self.backend
            .delete(Bucket::Alarm, alarm.encode_to_vec().into());
        tracing::warn!(
            alarm = kind.as_str_name(),
            member = format_args!("{member_id:x}"),
            "alarm disarmed"
        );
        vec![alarm]
    }
}
