//! What happened in a run, and in all.

use std::fmt;

use crate::places::Place;

/// One run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chronicle {
    /// Places at which an agent ended.
    pub(crate) reached: Vec<Place>,
    /// Agents' lives.
    pub(crate) lives: u32,
    /// Revisions that were compared.
    pub(crate) revisions: i64,
    /// Bases and segments that were compared.
    pub(crate) objects: usize,
    /// Timelines in the vault.
    pub(crate) timelines: usize,
    /// Revisions in named gaps.
    pub(crate) lost: i64,
    /// Times at which what was called durable was compared with what was there.
    pub(crate) looks: usize,
    /// Revisions that were brought back by a restore.
    pub(crate) restored: usize,
}

impl fmt::Display for Chronicle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lives, {} timelines, {} revisions in {} objects, {} restored, {} lost, {} looks, ended at {:?}",
            self.lives,
            self.timelines,
            self.revisions,
            self.objects,
            self.restored,
            self.lost,
            self.looks,
            self.reached
        )
    }
}

/// All runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    runs: u64,
    all: Chronicle,
}

impl Totals {
    pub(crate) fn add(&mut self, run: &Chronicle) {
        self.runs += 1;
        self.all.reached.extend(&run.reached);
        self.all.lives += run.lives;
        self.all.revisions += run.revisions;
        self.all.objects += run.objects;
        self.all.timelines += run.timelines;
        self.all.lost += run.lost;
        self.all.looks += run.looks;
        self.all.restored += run.restored;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = &self.all;
        write!(
            f,
            "{} runs: {} lives, {} of which ended at a place in the code; {} timelines, {} revisions in {} objects compared, {} restored; \
             {} revisions lost and named; {} looks at what was called durable",
            self.runs,
            all.lives,
            all.reached.len(),
            all.timelines,
            all.revisions,
            all.objects,
            all.restored,
            all.lost,
            all.looks
        )
    }
}
