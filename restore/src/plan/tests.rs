use proptest::collection::vec;
use proptest::prelude::*;
use revkeep_schemas::Revision;

use super::*;
use crate::error::Kind;

fn holdings() -> impl Strategy<Value = Holdings> {
    let base = (0i64..40, 0i64..20).prop_map(|(compact, more)| BaseFact {
        revision: Revision((compact + more).max(1)),
        compact_revision: Revision(compact),
    });
    let segment = (2i64..80, 0i64..16, 0u8..3).prop_map(|(first, more, level)| SegmentFact {
        first: Revision(first),
        last: Revision(first + more),
        level,
    });
    (vec(base, 0..4), vec(segment, 0..12)).prop_map(|(bases, segments)| Holdings {
        bases,
        segments,
        gaps: Vec::new(),
    })
}

/// The same question answered by trying every revision in turn.
fn reachable(holdings: &Holdings, target: i64) -> bool {
    holdings.bases.iter().any(|base| {
        base.oldest().0 <= target
            && (base.revision.0 + 1..=target).all(|revision| {
                holdings
                    .segments
                    .iter()
                    .any(|segment| segment.first.0 <= revision && revision <= segment.last.0)
            })
    })
}

/// The length of the shortest cover, by breadth.
fn fewest(holdings: &Holdings, after: i64, target: i64) -> usize {
    let mut reached = std::collections::BTreeSet::from([after]);
    for steps in 0.. {
        if reached.iter().any(|end| *end >= target) {
            return steps;
        }
        reached = reached
            .iter()
            .flat_map(|end| {
                holdings
                    .segments
                    .iter()
                    .filter(move |segment| segment.first.0 <= end + 1 && segment.last.0 > *end)
                    .map(|segment| segment.last.0)
            })
            .collect();
        assert!(!reached.is_empty(), "no cover");
    }
    unreachable!()
}

proptest! {
    #[test]
    fn a_plan_exists_exactly_for_what_can_be_reached(holdings in holdings(), target in 1i64..100) {
        let plan = choose(&holdings, Target::Revision(Revision(target)), History::AsSource);
        let covered = coverage(&holdings)
            .iter()
            .any(|range| range.0.0 <= target && target <= range.1.0);
        prop_assert_eq!(plan.is_ok(), reachable(&holdings, target));
        prop_assert_eq!(plan.is_ok(), covered);
    }

    #[test]
    fn a_plan_leaves_no_revision_out_and_is_the_shortest(
        holdings in holdings(), target in 1i64..100, everything in any::<bool>()
    ) {
        let history = if everything { History::Everything } else { History::AsSource };
        if let Ok(plan) = choose(&holdings, Target::Revision(Revision(target)), history) {
            let base = holdings.bases[plan.base];
            prop_assert!(base.oldest() <= plan.target);
            let mut next = base.revision.next();
            for step in &plan.steps {
                let segment = holdings.segments[step.segment];
                prop_assert_eq!(step.from, next);
                prop_assert!(segment.first <= step.from && step.to <= segment.last && step.from <= step.to);
                next = step.to.next();
            }
            if base.revision < plan.target {
                prop_assert_eq!(next, plan.target.next());
                prop_assert_eq!(plan.steps.len(), fewest(&holdings, base.revision.0, target));
            } else {
                prop_assert!(plan.steps.is_empty());
            }
        }
    }

    #[test]
    fn the_nearest_recovery_points_are_recovery_points_with_none_between(
        holdings in holdings(), target in 1i64..100
    ) {
        if let Err(error) = choose(&holdings, Target::Revision(Revision(target)), History::AsSource) {
            let near = error.nearest().unwrap();
            let below = (1..target).rev().find(|point| reachable(&holdings, *point));
            let above = (target + 1..120).find(|point| reachable(&holdings, *point));
            prop_assert_eq!(near.below.map(|point| point.0), below);
            prop_assert_eq!(near.above.map(|point| point.0), above);
            let hole = below.is_some() && above.is_some();
            prop_assert_eq!(error.kind(), if hole { Kind::Gap } else { Kind::OutsideCoverage });
        }
    }

    #[test]
    fn latest_is_the_end_of_coverage(holdings in holdings()) {
        let end = coverage(&holdings).last().map(|range| range.1);
        let plan = choose(&holdings, Target::Latest, History::AsSource).ok();
        prop_assert_eq!(plan.map(|plan| plan.target), end);
    }

    #[test]
    fn a_reachable_base_below_the_target_is_never_passed_over(holdings in holdings(), target in 1i64..100) {
        if let Ok(plan) = choose(&holdings, Target::Revision(Revision(target)), History::AsSource) {
            for base in &holdings.bases {
                let alone = Holdings { bases: vec![*base], ..holdings.clone() };
                if base.revision.0 <= target && reachable(&alone, target) {
                    prop_assert!(plan.base_fact.revision >= base.revision);
                    prop_assert!(plan.base_fact.revision.0 <= target);
                }
            }
        }
    }
}

#[test]
fn a_recorded_gap_is_named() {
    let holdings = Holdings {
        bases: vec![BaseFact {
            revision: Revision(10),
            compact_revision: Revision(0),
        }],
        segments: Vec::new(),
        gaps: vec![(Revision(11), Revision(19))],
    };
    let error = choose(&holdings, Target::Revision(Revision(12)), History::AsSource).unwrap_err();
    assert_eq!(error.kind(), Kind::Gap);
    assert!(error.to_string().contains("11 to 19"), "{error}");
    assert!(error.to_string().contains("10"), "{error}");
}

#[test]
fn the_compact_revision_is_the_sources_and_within_bounds() {
    let plan = Plan {
        target: Revision(50),
        base: 0,
        base_fact: BaseFact {
            revision: Revision(20),
            compact_revision: Revision(10),
        },
        steps: Vec::new(),
    };
    let fact = |after, compact| CompactFact {
        after: Revision(after),
        compact_revision: Revision(compact),
    };
    let at = |history, facts: &[CompactFact]| compact_revision_at(&plan, history, facts).0;
    assert_eq!(at(History::AsSource, &[]), 10);
    assert_eq!(
        at(
            History::AsSource,
            &[fact(25, 15), fact(50, 30), fact(51, 40)]
        ),
        30
    );
    assert_eq!(at(History::AsSource, &[fact(25, 5)]), 10);
    assert_eq!(at(History::Everything, &[fact(25, 15)]), 10);
}
