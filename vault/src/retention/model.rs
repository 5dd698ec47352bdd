//! The protocol of [`super`] as a small model, of which every reachable state is visited.
//!
//! In the vault is an old base that lists a chunk, and a path that leads past that base from an older one, which the rules
//! let go because of it. The store may lose the chunk at any time. Two agents write a base each that has the same rows, two sweepers
//! carry out the same round of deletions, and somebody pins the old base. Each is a list of steps, a step makes one
//! request or what a store does as one; any of them may stop for ever after any step, which is a crash or a pause
//! without end. So what holds in every state holds whatever the clocks say.

use std::collections::HashSet;

const WRITERS: usize = 2;
const SWEEPERS: usize = 2;

/// A rule of the protocol that is left out, to see that the model finds what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    /// All rules hold.
    Nothing,
    /// Writers announce what they write after they have looked for marks.
    IntentFirst,
    /// Sweepers do not wait for what was announced.
    Settling,
    /// A sweeper lets go of what was announced without a void in its place.
    Voids,
    /// Each sweeper deletes what it decided itself.
    OneFinal,
    /// Who pins does not look for a verdict.
    PinLooks,
    /// Chunks go before the base that lists them.
    Order,
    /// A chunk is stored again under the name that it had.
    Rounds,
    /// A base counts whether its chunks are there or not.
    Whole,
}

/// Which name of the chunk a base lists: that of the old round or of the new.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Chunk {
    Old,
    New,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Base {
    #[default]
    Absent,
    Lists(Option<Chunk>),
    Void,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Writer {
    step: u8,
    announced: bool,
    saw_mark: bool,
    base: Base,
}

/// What goes, as a sweeper decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Final {
    base: bool,
    chunk: bool,
    path: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Sweeper {
    step: u8,
    decided: Option<Final>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether one object is there"
)]
struct State {
    old_base: bool,
    old_chunk: bool,
    new_chunk: bool,
    /// What brings the same revisions back without the old base.
    path: bool,
    /// Whether the store lost the old chunk, and whether that was before any sweeper had decided.
    lost: Option<bool>,
    mark: bool,
    /// Which writers the verdict waits for.
    verdict: Option<[bool; WRITERS]>,
    decided: Option<Final>,
    writers: [Writer; WRITERS],
    sweepers: [Sweeper; SWEEPERS],
    pin: bool,
    /// What the person was told: nothing yet, that it holds, or that it is too late.
    pinned: Option<bool>,
}

impl State {
    fn first() -> Self {
        Self {
            old_base: true,
            old_chunk: true,
            new_chunk: false,
            path: true,
            lost: None,
            mark: false,
            verdict: None,
            decided: None,
            writers: [Writer::default(); WRITERS],
            sweepers: [Sweeper::default(); SWEEPERS],
            pin: false,
            pinned: None,
        }
    }

    /// What must hold in every state.
    fn broken(&self) -> Option<&'static str> {
        if self.lost == Some(true) && !self.path {
            return Some("the only path that was left is gone");
        }
        let gone = !self.old_chunk && self.lost.is_none();
        if self.old_base && gone {
            return Some("the old base lists a chunk that is gone");
        }
        for writer in self.writers {
            match writer.base {
                Base::Lists(Some(Chunk::Old)) if gone => {
                    return Some("a new base lists a chunk that is gone");
                }
                Base::Lists(Some(Chunk::New)) if !self.new_chunk => {
                    return Some("a new base lists a chunk that was never stored");
                }
                _ => {}
            }
        }
        (self.pinned == Some(true) && !self.old_base).then_some("what a pin holds is gone")
    }

    fn writer(&mut self, at: usize, without: Without) -> bool {
        let mark = self.mark;
        let early = without == Without::IntentFirst;
        let Some(writer) = self.writers.get_mut(at) else {
            return false;
        };
        match (writer.step, early) {
            (0, false) | (1, true) => writer.announced = true,
            (1, false) | (0, true) => writer.saw_mark = mark,
            (2, _) => {
                if writer.saw_mark && without == Without::Rounds {
                    self.old_chunk = true;
                } else if writer.saw_mark {
                    self.new_chunk = true;
                }
                // Else it lists the old chunk as the old base did, without asking for it.
            }
            (3, _) if writer.base == Base::Absent => {
                let renamed = writer.saw_mark && without != Without::Rounds;
                let chunk = if renamed { Chunk::New } else { Chunk::Old };
                writer.base = Base::Lists(Some(chunk));
            }
            (3, _) => {}
            _ => return false,
        }
        self.writers[at].step += 1;
        true
    }

    fn sweeper(&mut self, at: usize, without: Without) -> bool {
        let lists_old = |writer: &Writer| writer.base == Base::Lists(Some(Chunk::Old));
        match self.sweepers[at].step {
            // Made from manifests that were read before: a base that came since may list the chunk.
            0 => self.mark = true,
            1 => {
                let announced = self.writers.map(|writer| writer.announced);
                let waits = if without == Without::Settling {
                    [false; WRITERS]
                } else {
                    announced
                };
                self.verdict.get_or_insert(waits);
            }
            2 => {
                let waits = self.verdict.unwrap_or_default();
                for (writer, waits) in self.writers.iter_mut().zip(waits) {
                    if waits && writer.base == Base::Absent && without != Without::Voids {
                        writer.base = Base::Void;
                    }
                }
            }
            // It refuses, and tries again: with a chunk of the base gone, nothing is decided.
            3 if self.lost.is_some() && self.old_base && without != Without::Whole => return false,
            3 => {
                let chunk = !self.pin && !self.writers.iter().any(lists_old);
                self.sweepers[at].decided = Some(Final {
                    base: !self.pin,
                    chunk,
                    path: true,
                });
            }
            4 => {
                let decided = self.sweepers[at].decided;
                if without != Without::OneFinal {
                    self.decided = self.decided.or(decided);
                    self.sweepers[at].decided = self.decided;
                } else if self.decided.is_none() {
                    self.decided = decided;
                }
            }
            step @ (5 | 6) => {
                let chunks_now = (step == 6) != (without == Without::Order);
                if let Some(decided) = self.sweepers[at].decided {
                    self.path &= chunks_now || !decided.path;
                    self.old_base &= chunks_now || !decided.base;
                    self.old_chunk &= !chunks_now || !decided.chunk;
                }
            }
            _ => return false,
        }
        self.sweepers[at].step += 1;
        true
    }

    /// The store loses the old chunk.
    fn lose(&mut self) -> bool {
        if !self.old_chunk || self.lost.is_some() {
            return false;
        }
        let undecided = self.sweepers.iter().all(|sweeper| sweeper.step <= 3);
        self.old_chunk = false;
        self.lost = Some(undecided);
        true
    }

    fn person(&mut self, without: Without) -> bool {
        if !self.pin {
            self.pin = true;
        } else if self.pinned.is_none() {
            self.pinned = match (self.verdict, self.decided) {
                _ if without == Without::PinLooks => Some(true),
                (None, _) => Some(true),
                (Some(_), Some(decided)) => Some(!decided.base),
                (Some(_), None) => return false,
            };
        } else {
            return false;
        }
        true
    }
}

/// Visits every state that can be reached, and returns how many there are, or what is broken in one.
fn visit(without: Without) -> Result<usize, (&'static str, State)> {
    let mut seen = HashSet::from([State::first()]);
    let mut open = vec![State::first()];
    while let Some(state) = open.pop() {
        let mut visit = |taken: bool, next: State| {
            if !taken || !seen.insert(next.clone()) {
                return Ok(());
            }
            if let Some(what) = next.broken() {
                return Err((what, next));
            }
            open.push(next);
            Ok(())
        };
        for at in 0..WRITERS {
            let mut next = state.clone();
            visit(next.writer(at, without), next)?;
        }
        for at in 0..SWEEPERS {
            let mut next = state.clone();
            visit(next.sweeper(at, without), next)?;
        }
        let mut next = state.clone();
        visit(next.person(without), next)?;
        let mut next = state.clone();
        visit(next.lose(), next)?;
    }
    Ok(seen.len())
}

#[test]
fn nothing_that_is_needed_is_ever_deleted() {
    let states = visit(Without::Nothing).unwrap();
    assert!(states > 10_000, "{states}");
}

#[test]
fn every_rule_is_needed() {
    for without in [
        Without::IntentFirst,
        Without::Settling,
        Without::Voids,
        Without::OneFinal,
        Without::PinLooks,
        Without::Order,
        Without::Rounds,
        Without::Whole,
    ] {
        assert!(visit(without).is_err(), "{without:?}");
    }
}
