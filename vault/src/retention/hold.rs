//! Whether a pin that was just set came in time.

use std::collections::HashSet;

use revkeep_schemas::manifest::{PinRecord, RoundVerdict};
use revkeep_schemas::names::PinName;

use super::rounds::{Part, Rounds};
use crate::cluster::Cluster;
use crate::coverage::Coverage;
use crate::error::{ErrorKind, VaultError};

impl Cluster {
    /// Looks for verdicts after a pin was put: whoever writes one afterwards sees the pin.
    pub(crate) async fn holds(&self, name: &PinName, pin: &PinRecord) -> Result<(), VaultError> {
        let rounds = Rounds(self);
        for round in rounds.list().await? {
            let decided = round.stored(Part::Verdict).is_some();
            if !decided || round.stored(Part::Swept).is_some() {
                continue;
            }
            if rounds.verdict(round.number).await? == Some(RoundVerdict::TakenBack) {
                continue;
            }
            let Some(going) = rounds.objects(round.number, Part::Sweep).await? else {
                return Err(VaultError::new(
                    ErrorKind::Retry,
                    format!(
                        "pin {name}: it is set, and deletions of {} are being decided at this moment, so it may come too \
                         late: set it again in a minute to know",
                        self.name
                    ),
                ));
            };
            let goes: HashSet<&str> = going
                .bases
                .iter()
                .chain(&going.segments)
                .map(String::as_str)
                .collect();
            let mut left = self.timeline(pin.timeline).await?.inventory().await?;
            left.bases.retain(|base| !goes.contains(base.name.as_str()));
            left.segments
                .retain(|segment| !goes.contains(segment.name.as_str()));
            if !Coverage::compute(&left).contains(pin.revision) {
                return Err(VaultError::new(
                    ErrorKind::Refused,
                    format!(
                        "pin {name}: it comes too late: what brings revision {} of {} back is being deleted",
                        pin.revision, self.name
                    ),
                ));
            }
        }
        Ok(())
    }
}
