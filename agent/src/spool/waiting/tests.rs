use proptest::prelude::*;

use super::super::reach;
use super::super::testing::{place, segment, segment_of};
use super::*;

const ROOM: u64 = 1 << 30;

fn ranges(waiting: &Waiting) -> Vec<(i64, i64)> {
    let entries = waiting.entries.iter();
    entries.map(|entry| (entry.first.0, entry.last.0)).collect()
}

fn hole(waiting: &Waiting) -> Option<(i64, bool)> {
    waiting.hole().map(|hole| (hole.kept.0, hole.open))
}

fn acknowledge(waiting: &mut Waiting) -> bool {
    let (ticket, _) = waiting.head().unwrap();
    waiting.acknowledged(ticket)
}

fn file_all(waiting: &mut Waiting) {
    waiting.start_filing();
    while let Some((ticket, _)) = waiting.to_file() {
        assert!(waiting.filed(ticket));
    }
}

#[test]
fn what_goes_up_at_once_is_not_filed() {
    let mut waiting = Waiting::new(ROOM, 0);
    for n in 1..5 {
        waiting.admit(segment(n, n)).unwrap();
        assert!(!waiting.must_file());
        assert!(!acknowledge(&mut waiting), "no file has to be removed");
    }
    assert_eq!(waiting.load(), (0, 0));
}

#[test]
fn after_a_failure_all_is_filed_until_nothing_waits() {
    let mut waiting = Waiting::new(ROOM, 0);
    waiting.admit(segment(2, 3)).unwrap();
    waiting.admit(segment(4, 5)).unwrap();
    file_all(&mut waiting);
    waiting.admit(segment(6, 7)).unwrap();
    assert!(waiting.must_file());
    assert!(acknowledge(&mut waiting));
    assert!(acknowledge(&mut waiting));
    // It was not filed yet; what writes its file finds it gone.
    let (ticket, _) = waiting.to_file().unwrap();
    assert!(!acknowledge(&mut waiting));
    assert!(!waiting.filed(ticket));
    waiting.admit(segment(8, 9)).unwrap();
    assert!(!waiting.must_file());
}

#[test]
fn past_the_bound_all_is_discarded_until_a_base_was_taken() {
    let cost = cost_of(segment(2, 2).bytes.len() as u64);
    let mut waiting = Waiting::new(16 * cost, 0);
    for n in 2..18 {
        waiting.admit(segment(n, n)).unwrap();
    }
    waiting.admit(segment(18, 18)).unwrap_err();
    assert_eq!(hole(&waiting), Some((17, false)));
    assert!(!acknowledge(&mut waiting));
    // There is room for one, and it would follow a hole.
    waiting.admit(segment(19, 19)).unwrap_err();
    assert_eq!(hole(&waiting), Some((17, false)));
    acknowledge(&mut waiting);
    assert_eq!(hole(&waiting), Some((17, true)));
    let number = waiting.hole().unwrap().number;
    waiting.healed(number - 1);
    assert_eq!(hole(&waiting), Some((17, true)));
    waiting.healed(number);
    assert_eq!(hole(&waiting), None);
    waiting.admit(segment(40, 40)).unwrap();
    assert_eq!(ranges(&waiting).last(), Some(&(40, 40)));
}

#[test]
fn one_segment_may_be_larger_than_all() {
    let mut waiting = Waiting::new(1, 0);
    waiting.admit(segment(2, 90)).unwrap();
    waiting.admit(segment(91, 91)).unwrap_err();
    assert_eq!(hole(&waiting), Some((90, false)));
    acknowledge(&mut waiting);
    assert_eq!(hole(&waiting), Some((90, true)));
}

#[test]
fn what_lies_beside_takes_room_and_does_not_keep_a_hole_closed() {
    let mut waiting = Waiting::new(10, 1000);
    waiting.admit(segment(2, 2)).unwrap();
    waiting.admit(segment(3, 3)).unwrap_err();
    acknowledge(&mut waiting);
    assert_eq!(hole(&waiting), Some((2, true)));
}

#[test]
fn a_disk_that_takes_nothing_leaves_what_memory_holds() {
    let large = || segment_of(&place(), 9, 9, 3 << 19);
    let mut waiting = Waiting::new(ROOM, 0);
    waiting.admit(segment(2, 2)).unwrap();
    waiting.start_filing();
    assert!(waiting.refused_by_disk().is_empty());
    assert_eq!(hole(&waiting), None);
    waiting.admit(large()).unwrap();
    waiting.admit(large()).unwrap();
    assert!(waiting.refused_by_disk().is_empty());
    waiting.admit(large()).unwrap();
    assert!(waiting.must_file());
    let refused = waiting.refused_by_disk();
    assert_eq!(refused.len(), 1);
    assert_eq!(hole(&waiting), Some((8, false)));
    assert_eq!(waiting.load().0, 3);
}

#[test]
fn the_oldest_stays_whatever_its_size() {
    let large = segment_of(&place(), 2, 2, 20 << 20);
    let mut waiting = Waiting::new(ROOM, 0);
    waiting.admit(large).unwrap();
    assert!(waiting.must_file());
    assert!(waiting.refused_by_disk().is_empty());
    waiting.admit(segment(3, 3)).unwrap();
    assert_eq!(waiting.refused_by_disk().len(), 1);
    assert_eq!(hole(&waiting), Some((2, false)));
}

#[test]
fn a_file_that_cannot_be_used_is_a_hole_that_opens_at_once() {
    let mut waiting = Waiting::new(ROOM, 0);
    for n in [2, 4, 6] {
        waiting.admit(segment(n, n + 1)).unwrap();
    }
    file_all(&mut waiting);
    acknowledge(&mut waiting);
    let (ticket, source) = waiting.head().unwrap();
    assert!(matches!(source, Source::File(Revision(4), Revision(5), _)));
    waiting.unusable(ticket);
    assert_eq!(hole(&waiting), Some((3, true)));
    assert_eq!(ranges(&waiting), [(6, 7)]);
}

#[test]
fn a_start_goes_on_after_what_is_kept_without_a_hole() {
    let mut waiting = Waiting::new(ROOM, 0);
    for (first, last) in [(5, 9), (10, 12), (14, 20)] {
        waiting.found(Revision(first), Revision(last), Uid(1), 100);
    }
    let names = waiting.names();
    let reached = |durable| reach(Revision(durable), names.iter().map(Name::range)).0;
    assert_eq!([3, 4, 7, 13, 30].map(reached), [3, 12, 12, 20, 30]);
    assert!(waiting.must_file());
}

#[derive(Clone, Debug)]
enum Step {
    Admit(i64),
    Acknowledge,
    File,
    DiskFails,
    Unusable,
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0i64..3).prop_map(Step::Admit),
        3 => Just(Step::Acknowledge),
        2 => Just(Step::File),
        1 => Just(Step::DiskFails),
        1 => Just(Step::Unusable),
        1 => Just(Step::Heal),
    ]
}

proptest! {
    /// Whatever happens: what was taken goes up in its order; what waits stays within the bound; every revision goes up,
    /// waits, or lies behind a hole that was told with the last revision before it; and what has no file is the newest.
    #[test]
    fn nothing_is_lost_without_a_hole(steps in proptest::collection::vec(step(), 0..60), limit in 1u64..12) {
        let limit = limit * BLOCK_BYTES;
        let mut waiting = Waiting::new(limit, 0);
        let mut next = 2;
        // What has to go up, in order.
        let mut expected: Vec<(i64, i64)> = Vec::new();
        let mut up = Vec::new();
        for step in steps {
            match step {
                Step::Admit(more) => {
                    let (first, last) = (next, next + more);
                    next = last + 1;
                    let before = waiting.hole();
                    match waiting.admit(segment(first, last)) {
                        Ok(()) => {
                            prop_assert!(before.is_none());
                            expected.push((first, last));
                        }
                        Err(Refused(refused)) => {
                            prop_assert_eq!(refused.first.0, first);
                            let hole = waiting.hole().unwrap();
                            prop_assert!(hole.kept.0 < first);
                            if before.is_none() {
                                prop_assert_eq!(hole.kept.0, first - 1);
                            }
                        }
                    }
                }
                Step::Acknowledge => {
                    if let Some((ticket, source)) = waiting.head() {
                        let filed = waiting.acknowledged(ticket);
                        let range = match source {
                            Source::Memory(segment) => {
                                prop_assert!(!filed);
                                (segment.first.0, segment.last.0)
                            }
                            Source::File(first, last, _) => {
                                prop_assert!(filed);
                                (first.0, last.0)
                            }
                        };
                        up.push(range);
                    }
                }
                Step::File => {
                    waiting.start_filing();
                    if let Some((ticket, _)) = waiting.to_file() {
                        prop_assert!(waiting.filed(ticket));
                    }
                }
                Step::DiskFails => {
                    for Refused(segment) in waiting.refused_by_disk() {
                        prop_assert_eq!(expected.pop(), Some((segment.first.0, segment.last.0)));
                        prop_assert!(waiting.hole().unwrap().kept < segment.first);
                    }
                }
                Step::Unusable => {
                    if let Some((ticket, Source::File(first, last, _))) = waiting.head() {
                        waiting.unusable(ticket);
                        expected.retain(|range| *range != (first.0, last.0));
                        prop_assert!(waiting.hole().unwrap().kept < first);
                    }
                }
                Step::Heal => {
                    if let Some(hole) = waiting.hole().filter(|hole| hole.open) {
                        waiting.healed(hole.number);
                        prop_assert!(waiting.hole().is_none());
                    }
                }
            }
            let (segments, bytes) = waiting.load();
            prop_assert!(bytes <= limit || segments == 1, "{} bytes in {}", bytes, segments);
            let costs: u64 = waiting.entries.iter().map(|entry| entry.cost).sum();
            prop_assert_eq!(costs, bytes);
            let in_memory: u64 = waiting.entries.iter().filter(|entry| entry.held.is_some()).map(|entry| entry.cost).sum();
            prop_assert_eq!(in_memory, waiting.in_memory);
            prop_assert!(waiting.entries.iter().is_sorted_by_key(|entry| entry.held.is_some()));
            if segments == 0 {
                prop_assert!(waiting.hole().is_none_or(|hole| hole.open), "a hole that nothing opens");
            }
        }
        let all: Vec<_> = up.into_iter().chain(ranges(&waiting)).collect();
        prop_assert_eq!(all, expected);
    }
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Admit,
    Send,
    Lands(prop::sample::Index),
    ComesBack(prop::sample::Index),
    File,
    DiskFails,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => Just(Move::Admit),
        4 => Just(Move::Send),
        3 => any::<prop::sample::Index>().prop_map(Move::Lands),
        2 => any::<prop::sample::Index>().prop_map(Move::ComesBack),
        2 => Just(Move::File),
        1 => Just(Move::DiskFails),
    ]
}

proptest! {
    /// Several are on their way and land in any order: each is sent once at a time, the oldest first; none is forgotten that
    /// has not landed; files are asked for and removed as before; and a restart that finds the files goes on right behind
    /// what is stored or filed without a hole.
    #[test]
    fn what_is_on_its_way_lands_in_any_order(moves in proptest::collection::vec(a_move(), 0..80)) {
        let mut waiting = Waiting::new(ROOM, 0);
        let mut next = 2;
        let mut up: Vec<(Ticket, i64)> = Vec::new();
        let mut landed = Vec::new();
        let mut refused = Vec::new();
        let mut files = std::collections::BTreeSet::new();
        for step in moves {
            match step {
                Move::Admit => {
                    match waiting.admit(segment(next, next)) {
                        Ok(()) => {}
                        Err(_) => refused.push(next),
                    }
                    next += 1;
                }
                Move::Send => if let Some((ticket, source)) = waiting.head() {
                    let at = match source {
                        Source::Memory(segment) => segment.first.0,
                        Source::File(first, ..) => first.0,
                    };
                    let older = ranges(&waiting).into_iter().filter(|(first, _)| *first < at);
                    for (first, _) in older {
                        prop_assert!(up.iter().any(|(_, sent)| *sent == first), "{} before {}", at, first);
                    }
                    prop_assert!(up.iter().all(|(_, sent)| *sent != at), "twice");
                    waiting.sent(ticket);
                    up.push((ticket, at));
                },
                Move::Lands(which) if !up.is_empty() => {
                    let (ticket, at) = up.swap_remove(which.index(up.len()));
                    prop_assert_eq!(waiting.acknowledged(ticket), files.remove(&at));
                    landed.push(at);
                }
                Move::ComesBack(which) if !up.is_empty() => {
                    let (ticket, _) = up.swap_remove(which.index(up.len()));
                    waiting.came_back(ticket);
                }
                Move::File => {
                    waiting.start_filing();
                    if let Some((ticket, segment)) = waiting.to_file() {
                        prop_assert!(waiting.filed(ticket));
                        files.insert(segment.first.0);
                    }
                }
                Move::DiskFails => {
                    for Refused(segment) in waiting.refused_by_disk() {
                        refused.push(segment.first.0);
                    }
                }
                Move::Lands(_) | Move::ComesBack(_) => {}
            }
            for (_, at) in &up {
                prop_assert!(ranges(&waiting).contains(&(*at, *at)), "{} was forgotten on its way", at);
            }
            let mut all: Vec<i64> = landed.iter().copied().chain(ranges(&waiting).into_iter().map(|(first, _)| first)).collect();
            all.extend(&refused);
            all.sort_unstable();
            prop_assert_eq!(all, (2..next).collect::<Vec<_>>());
            // Killed now: everything in a file is whole, and nothing newer is filed before it.
            let oldest_in_memory = waiting.entries.iter().find(|entry| entry.held.is_some()).map(|entry| entry.first.0);
            prop_assert!(files.iter().all(|at| oldest_in_memory.is_none_or(|memory| *at < memory)));
        }
    }
}
