//! What one watcher wants.

use revkeep_schemas::etcd_api::etcdserverpb::WatchCreateRequest;
use revkeep_schemas::etcd_api::etcdserverpb::watch_create_request::FilterType;
use revkeep_schemas::etcd_api::mvccpb::{Event, event::EventType};

use super::KeyRange;

/// What one watcher wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of etcd's request, independent of the others"
)]
pub struct WatchSpec {
    /// The keys.
    pub range: KeyRange,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletions out.
    pub no_delete: bool,
    /// Send what each key was before.
    pub prev_kv: bool,
    /// Send a sign of life now and then while nothing happens.
    pub progress_notify: bool,
    /// Large answers may be cut.
    pub fragment: bool,
}

impl WatchSpec {
    /// What a request asks for; `None` when no key can lie in its range.
    pub fn from_request(request: &WatchCreateRequest) -> Option<Self> {
        let filters = |kind| request.filters().any(|filter| filter == kind);
        Some(Self {
            range: KeyRange::from_request(request.key.clone(), request.range_end.clone())?,
            no_put: filters(FilterType::Noput),
            no_delete: filters(FilterType::Nodelete),
            prev_kv: request.prev_kv,
            progress_notify: request.progress_notify,
            fragment: request.fragment,
        })
    }

    /// Whether an event in the range is left out.
    pub(super) fn leaves_out(&self, event: &Event) -> bool {
        match event.r#type() {
            EventType::Put => self.no_put,
            EventType::Delete => self.no_delete,
        }
    }
}
