//! A plan in a file: what is to be done, and behind it what was done of it.
//!
//! One JSON object a line: first what the plan is of; then each step; then, while it is carried out, the keys of each transaction that
//! was acknowledged. Keys and values are base64. Values are in it, so it is for its user alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::{Action, LeasePolicy, LivePlan, Step, Wish};
use crate::error::{Kind, RestoreError};
use crate::target::sync_directory;

/// The version of the file's format.
const VERSION: u32 = 2;

/// What a plan is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    #[serde(rename = "revkeep_plan")]
    pub version: u32,
    /// The cluster in the vault.
    pub cluster: String,
    /// Its timeline.
    pub timeline: String,
    /// The revision that is put back.
    pub revision: i64,
    /// The prefix, in base64.
    pub prefix: String,
    /// Whether keys go that were not there.
    pub delete_extra: bool,
    /// What becomes of leases.
    pub leases: LeasePolicy,
    /// The id of the live cluster that it was decided for.
    pub live_cluster_id: u64,
    /// The live cluster's revision that it was decided at.
    pub live_revision: i64,
    /// Keys that were what they should be.
    pub unchanged: usize,
    /// How many steps follow.
    pub steps: usize,
    /// Granted seconds by lease.
    pub granted: BTreeMap<i64, i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Put {
        key: String,
        seen: i64,
        put: String,
        lease: i64,
    },
    Delete {
        key: String,
        seen: i64,
        delete: bool,
    },
    Done {
        done: Vec<String>,
    },
}

/// A plan in a file.
#[derive(Debug)]
pub struct PlanFile {
    path: PathBuf,
    file: File,
}

impl PlanFile {
    /// Writes a plan into a new file, which is there when all of it is on disk, and not before.
    ///
    /// # Errors
    /// [`Kind::Refused`] when there is one of this name; when it cannot be written.
    pub fn create(path: &Path, header: &Header, plan: &LivePlan) -> Result<Self, RestoreError> {
        Self::refuse_unless_free(path)?;
        let failed = || RestoreError::io(format!("write {}", path.display()));
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // For its user alone, as all that this makes.
        let built = tempfile::Builder::new()
            .prefix(".revkeep-plan-")
            .tempfile_in(folder)
            .map_err(failed())?;
        let mut out = BufWriter::new(built.as_file());
        let header = Header {
            version: VERSION,
            steps: plan.steps.len(),
            ..header.clone()
        };
        push(&mut out, &header).map_err(failed())?;
        for step in &plan.steps {
            push(&mut out, &Line::of(step)).map_err(failed())?;
        }
        out.flush().map_err(failed())?;
        drop(out);
        built.as_file().sync_all().map_err(failed())?;
        built
            .persist_noclobber(path)
            .map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => there_already(path),
                _ => failed()(error.error),
            })?;
        sync_directory(folder)?;
        Self::append_to(path)
    }

    /// Refuses a name that is taken.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub fn refuse_unless_free(path: &Path) -> Result<(), RestoreError> {
        match path.symlink_metadata() {
            Ok(_) => Err(there_already(path)),
            Err(_) => Ok(()),
        }
    }

    fn append_to(path: &Path) -> Result<Self, RestoreError> {
        let mut options = OpenOptions::new();
        let file = options.append(true).open(path);
        Ok(Self {
            path: path.to_path_buf(),
            file: file.map_err(RestoreError::io(format!("open {}", path.display())))?,
        })
    }

    /// Reads a plan: the steps that are left, and how many were done before.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is no plan, or not a whole one.
    pub fn open(path: &Path) -> Result<(Self, Header, LivePlan, usize), RestoreError> {
        let what = || format!("read {}", path.display());
        let text = std::fs::read_to_string(path).map_err(RestoreError::io(what()))?;
        let no_plan = |why: &str| {
            RestoreError::new(
                Kind::Invalid,
                format!(
                    "{} is no whole plan of revkeep: {why}. Try: remove it, and make it again",
                    path.display()
                ),
            )
        };
        // What was being written when the process was killed has no end.
        let whole = text
            .rfind('\n')
            .map_or("", |end| text.get(..end).unwrap_or_default());
        let mut lines = whole.lines();
        let header: Option<Header> = lines
            .next()
            .and_then(|line| serde_json::from_str(line).ok());
        let header = header.ok_or_else(|| no_plan("it has no header"))?;
        if header.version != VERSION {
            return Err(no_plan("it has another version"));
        }
        let mut plan = LivePlan {
            live_revision: header.live_revision,
            unchanged: header.unchanged,
            ..LivePlan::default()
        };
        let mut done = BTreeSet::new();
        for line in lines {
            let bytes = |text: &str| {
                BASE64_STANDARD
                    .decode(text)
                    .map_err(|_| no_plan("its base64 is damaged"))
            };
            match serde_json::from_str(line).map_err(|_| no_plan("a line of it is damaged"))? {
                Line::Put {
                    key,
                    seen,
                    put,
                    lease,
                } => plan.steps.push(Step {
                    key: bytes(&key)?,
                    seen,
                    action: Action::Put(Wish {
                        value: bytes(&put)?.into(),
                        lease,
                    }),
                }),
                Line::Delete { key, seen, .. } => plan.steps.push(Step {
                    key: bytes(&key)?,
                    seen,
                    action: Action::Delete,
                }),
                Line::Done { done: keys } => {
                    for key in keys {
                        done.insert(bytes(&key)?);
                    }
                }
            }
        }
        if plan.steps.len() != header.steps {
            return Err(no_plan("it is cut short"));
        }
        plan.steps.retain(|step| !done.contains(&step.key));
        let file = Self::append_to(path)?;
        if whole.len() + 1 < text.len() {
            // So that what comes next begins a line of its own. The cut one is passed over for good.
            file.file
                .set_len(whole.len() as u64 + 1)
                .map_err(RestoreError::io(what()))?;
        }
        Ok((file, header, plan, done.len()))
    }

    /// Notes that these steps are done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn done(&mut self, steps: &[Step]) -> Result<(), RestoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        let done = steps
            .iter()
            .map(|step| BASE64_STANDARD.encode(&step.key))
            .collect();
        let mut line = Vec::new();
        let written = push(&mut line, &Line::Done { done })
            .and_then(|()| self.file.write_all(&line))
            .and_then(|()| self.file.sync_data());
        written.map_err(RestoreError::io(format!("write {}", self.path.display())))
    }
}

impl Line {
    fn of(step: &Step) -> Self {
        let (key, seen) = (BASE64_STANDARD.encode(&step.key), step.seen);
        match &step.action {
            Action::Put(wish) => Self::Put {
                key,
                seen,
                put: BASE64_STANDARD.encode(&wish.value),
                lease: wish.lease,
            },
            Action::Delete => Self::Delete {
                key,
                seen,
                delete: true,
            },
        }
    }
}

fn there_already(path: &Path) -> RestoreError {
    RestoreError::new(
        Kind::Refused,
        format!(
            "{} is there already: give --apply to carry it out, or another name",
            path.display()
        ),
    )
}

fn push(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> LivePlan {
        let put = |key: &[u8], value: &'static [u8]| Step {
            key: key.to_vec(),
            seen: 7,
            action: Action::Put(Wish {
                value: value.into(),
                lease: 3,
            }),
        };
        LivePlan {
            live_revision: 9,
            steps: vec![
                put(b"a", b"\xff"),
                Step {
                    key: b"\0".to_vec(),
                    seen: 2,
                    action: Action::Delete,
                },
                put(b"b", b""),
            ],
            unchanged: 5,
            extra: Vec::new(),
        }
    }

    #[test]
    fn what_was_done_is_left_out_and_a_cut_line_is_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("plan");
        let header = Header {
            live_revision: 9,
            unchanged: 5,
            granted: BTreeMap::from([(3, 60)]),
            ..Header::default()
        };
        let mut file = PlanFile::create(&path, &header, &plan()).unwrap();
        let again = PlanFile::create(&path, &header, &plan()).unwrap_err();
        assert_eq!(again.kind(), Kind::Refused);
        let there = std::fs::read_dir(place.path()).unwrap().count();
        assert_eq!(there, 1, "what it was built in is gone");
        file.done(&plan().steps[..1]).unwrap();
        drop(file);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"done\":[\"AA")
            .unwrap();
        for left in [2, 1] {
            let (mut file, read, rest, done) = PlanFile::open(&path).unwrap();
            assert_eq!((rest.steps.len(), done), (left, 3 - left));
            assert_eq!(rest.steps, plan().steps[3 - left..]);
            assert_eq!((read.granted, rest.unchanged), (header.granted.clone(), 5));
            file.done(&rest.steps[..1]).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let cut: Vec<_> = text
            .lines()
            .take(2)
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&path, cut.concat()).unwrap();
        let cut = PlanFile::open(&path).unwrap_err();
        assert_eq!(cut.kind(), Kind::Invalid);
        assert!(cut.to_string().contains("Try: remove it"), "{cut}");
        std::fs::remove_file(&path).unwrap();
        PlanFile::create(&path, &header, &plan()).unwrap();
    }
}
