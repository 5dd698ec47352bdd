//! When the store compacts itself.

use std::time::Duration;

use crate::error::StoreError;

/// `--auto-compaction-mode` and `--auto-compaction-retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Keep the history of this long.
    Periodic(Duration),
    /// Keep this many revisions.
    Revision(i64),
}

impl AutoCompaction {
    /// Reads the two flags as etcd does: a retention of 0 is off; in the mode `periodic` a bare number is hours.
    pub fn parse(mode: &str, retention: &str) -> Result<Option<Self>, StoreError> {
        let bad = |why: &str| {
            StoreError::Config(format!(
                "--auto-compaction-mode={mode} --auto-compaction-retention={retention}: {why}"
            ))
        };
        let number = retention.parse::<i64>().ok();
        match mode {
            "" | "periodic" => {
                let time = match number {
                    Some(hours) => u64::try_from(hours)
                        .ok()
                        .and_then(|hours| hours.checked_mul(3600))
                        .map(Duration::from_secs)
                        .ok_or_else(|| bad("the retention cannot be negative"))?,
                    None => humantime::parse_duration(retention)
                        .map_err(|_| bad("the retention must be hours or a duration such as 5m"))?,
                };
                Ok((!time.is_zero()).then_some(Self::Periodic(time)))
            }
            "revision" => {
                let revisions =
                    number.ok_or_else(|| bad("the retention must be a number of revisions"))?;
                if revisions < 0 {
                    return Err(bad("the retention cannot be negative"));
                }
                Ok((revisions > 0).then_some(Self::Revision(revisions)))
            }
            _ => Err(bad("the mode is `periodic` or `revision`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_are_read_as_etcd_reads_them() {
        let read = |mode, retention| AutoCompaction::parse(mode, retention).unwrap();
        let hours = |hours: u64| Some(AutoCompaction::Periodic(Duration::from_secs(3600 * hours)));
        assert_eq!(read("periodic", "0"), None);
        assert_eq!(read("periodic", "2"), hours(2));
        assert_eq!(read("periodic", "60m"), hours(1));
        assert_eq!(read("periodic", "1h0m0s"), hours(1));
        assert_eq!(read("revision", "0"), None);
        assert_eq!(
            read("revision", "1000"),
            Some(AutoCompaction::Revision(1000))
        );
        assert!(AutoCompaction::parse("revision", "1h").is_err());
        assert!(AutoCompaction::parse("sometimes", "1").is_err());
    }
}
