//! Whether a pin that was just set came in time.

use std::collections::HashSet;

use revkeep_schemas::manifest::{PinRecord, RoundVerdict};
use revkeep_schemas::names::PinName;

use super::rounds::{Part, Rounds};
use crate::cluster::Cluster;
use crate::coverage::Coverage;
use crate::error::{ErrorKind, VaultError};

impl Cluster {
    /// Looks for verdicts after a pin was put: whoever writes one afterwards sees the pin. One that comes too late, or may,
    /// is taken back, so that no pin stands for what may be gone, and it can be set again.
    pub(crate) async fn holds(&self, name: &PinName, pin: &PinRecord) -> Result<(), VaultError> {
        let Some(late) = self.comes_late(name, pin).await? else {
            return Ok(());
        };
        self.remove_pin(name).await?;
        Err(late)
    }

    async fn comes_late(
        &self,
        name: &PinName,
        pin: &PinRecord,
    ) -> Result<Option<VaultError>, VaultError> {
        let rounds = Rounds(self);
        for round in rounds.list().await? {
            let decided = round.stored(Part::Verdict).is_some();
            if !decided || round.stored(Part::Swept).is_some() {
                continue;
            }
            if rounds.verdict(round.number).await? == Some(RoundVerdict::TakenBack) {
                continue;
            }
            let sweep = rounds.objects(round.number, Part::Sweep).await?;
            let undecided = sweep.is_none();
            // What is swept was marked, so what the mark leaves stays in any case.
            let going = match sweep {
                Some(sweep) => sweep,
                None => rounds
                    .objects(round.number, Part::Mark)
                    .await?
                    .unwrap_or_default(),
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
                if undecided {
                    return Ok(Some(VaultError::new(
                        ErrorKind::Retry,
                        format!(
                            "pin {name}: it is not set: deletions of {} are being decided, so it may come too late; try again \
                             once `revkeep-vault retention apply` has ended them",
                            self.name
                        ),
                    )));
                }
                return Ok(Some(VaultError::new(
                    ErrorKind::Refused,
                    format!(
                        "pin {name}: it is not set, for it comes too late: what brings revision {} of {} back is being deleted",
                        pin.revision, self.name
                    ),
                )));
            }
        }
        Ok(None)
    }
}
