use proptest::prelude::*;

use super::*;

fn change(main: i64, n: usize) -> Change {
    Change {
        main: Revision(main),
        tombstone: n % 3 == 2,
        value: format!("{main}/{n}").into_bytes().into(),
        lease: 0,
    }
}

/// Responses: changes and whether each is a fragment.
type Responses = Vec<(Vec<Change>, bool)>;

fn history() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1usize..6, 1..30)
}

/// Cuts the events of the history, which starts at revision 11, at random: inside a transaction only with a mark.
fn responses(sizes: &[usize], cuts: &[bool]) -> Responses {
    let mut cuts = cuts.iter().copied().cycle();
    let mut out: Responses = Vec::new();
    let mut open = Vec::new();
    for (i, &size) in sizes.iter().enumerate() {
        let main = 11 + i64::try_from(i).unwrap();
        for n in 0..size {
            open.push(change(main, n));
            let whole = n + 1 == size;
            if cuts.next().unwrap() {
                // A fragment may also end at a transaction's end.
                let fragment = !whole || cuts.next().unwrap();
                out.push((mem::take(&mut open), fragment));
            }
        }
    }
    out.push((open, false));
    out
}

fn feed(joiner: &mut Joiner, responses: &Responses) -> Result<Vec<Transaction>, Fault> {
    let mut done = Vec::new();
    for (changes, fragment) in responses {
        for change in changes {
            done.extend(joiner.push(change.clone())?);
        }
        done.extend(joiner.end_of_response(*fragment));
    }
    Ok(done)
}

fn expected(sizes: &[usize]) -> Vec<Transaction> {
    let rows = |main: i64, size: usize| {
        (0..size).map(move |n| RowBuf {
            key: RowKey {
                main: Revision(main),
                sub: i64::try_from(n).unwrap(),
                tombstone: n % 3 == 2,
            },
            value: format!("{main}/{n}").into_bytes().into(),
        })
    };
    (11..)
        .zip(sizes)
        .map(|(main, &size)| Transaction {
            revision: Revision(main),
            rows: rows(main, size).collect(),
            leases: Vec::new(),
        })
        .collect()
}

proptest! {
    #[test]
    fn any_fragmenting_gives_the_same_whole_transactions(
        sizes in history(),
        cuts in proptest::collection::vec(any::<bool>(), 1..40),
    ) {
        let mut joiner = Joiner::new(Revision(10));
        prop_assert_eq!(feed(&mut joiner, &responses(&sizes, &cuts)).unwrap(), expected(&sizes));
    }

    #[test]
    fn what_is_known_already_is_dropped(
        sizes in history(),
        cuts in proptest::collection::vec(any::<bool>(), 1..40),
        known in 0i64..40,
    ) {
        let known = known.min(i64::try_from(sizes.len()).unwrap());
        let mut joiner = Joiner::new(Revision(10 + known));
        let mut wanted = expected(&sizes);
        wanted.retain(|transaction| transaction.revision > Revision(10 + known));
        let responses = responses(&sizes, &cuts);
        prop_assert_eq!(feed(&mut joiner, &responses).unwrap(), wanted);
        prop_assert_eq!(feed(&mut joiner, &responses).unwrap(), vec![]);
    }

    #[test]
    fn a_lost_revision_is_never_passed_over(
        sizes in history(),
        cuts in proptest::collection::vec(any::<bool>(), 1..40),
        lost in any::<prop::sample::Index>(),
    ) {
        let lost = Revision(11 + i64::try_from(lost.index(sizes.len())).unwrap());
        let mut responses = responses(&sizes, &cuts);
        for (changes, _) in &mut responses {
            changes.retain(|change| change.main != lost);
        }
        let end = Revision(10 + i64::try_from(sizes.len()).unwrap());
        let mut joiner = Joiner::new(Revision(10));
        if let Err(fault) = feed(&mut joiner, &responses) {
            prop_assert_eq!(fault, Fault::Jump { expected: lost, found: lost.next() });
        } else {
            prop_assert_eq!(lost, end); // Nothing follows it, so only a progress mark can tell.
        }
        prop_assert!(joiner.last() < lost);
        prop_assert!(joiner.progress(end).is_err());
    }
}

#[test]
fn a_fragment_alone_commits_nothing() {
    let mut joiner = Joiner::new(Revision(1));
    assert_eq!(joiner.push(change(2, 0)), Ok(None));
    assert_eq!(joiner.end_of_response(true), None);
    assert_eq!(joiner.last(), Revision(1));
    let done = joiner.end_of_response(false).unwrap();
    assert_eq!((done.revision, done.rows.len()), (Revision(2), 1));
}

#[test]
fn a_transaction_sent_twice_while_incomplete_is_a_fault() {
    let mut joiner = Joiner::new(Revision(1));
    joiner.push(change(2, 0)).unwrap();
    joiner.push(change(2, 1)).unwrap();
    assert_eq!(
        joiner.push(change(2, 0)),
        Err(Fault::Repeated {
            revision: Revision(2)
        })
    );
}

#[test]
fn progress_must_not_run_ahead() {
    let joiner = Joiner::new(Revision(7));
    assert_eq!(joiner.progress(Revision(7)), Ok(()));
    assert!(joiner.progress(Revision(8)).is_err());
}
