//! The handshakes that are under way, and which of them makes room when there are too many.
//!
//! Whoever opens connections and says nothing must keep nobody else out. So it is the address with the most handshakes that
//! makes room, by its oldest, and only once that has had the time which an honest caller far away needs. While it has not,
//! more from the same address are turned away at once, and one from another waits for it.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Handshakes that are under way at once.
pub(super) const MOST: usize = 512;
/// A handshake is not ended before this for another's sake: it takes two ways to the caller and back, and its work.
const YOUNG: Duration = Duration::from_millis(250);
/// Between two warnings.
const WARNINGS: Duration = Duration::from_secs(60);

/// The handshakes that are under way.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    /// The oldest first.
    all: VecDeque<Handshake>,
    turned_out: TurnedOut,
}

#[derive(Debug)]
struct Handshake {
    host: IpAddr,
    begun: Instant,
    /// Keeps it going.
    keep: oneshot::Sender<()>,
}

/// Whether one more handshake can begin.
#[derive(Debug)]
pub(super) enum Room {
    /// It can; it is over when this is.
    There(oneshot::Receiver<()>),
    /// Not before so long.
    After(Duration),
    /// No: as many of its address as nobody else has were begun a moment ago.
    None,
}

impl Handshakes {
    /// Room for so many.
    pub(super) fn of(most: usize) -> Self {
        Self {
            most,
            all: VecDeque::new(),
            turned_out: TurnedOut::default(),
        }
    }

    /// Begins one from an address if there is room for it or room can be made.
    pub(super) fn begin(&mut self, address: IpAddr, now: Instant) -> Room {
        let host = host(address);
        if self.all.len() >= self.most {
            self.all.retain(|one| !one.keep.is_closed());
        }
        if self.all.len() >= self.most
            && let Some((at, largest, age)) = self.first_to_go(now)
        {
            if age >= YOUNG {
                self.all.remove(at);
            } else if largest != host {
                return Room::After(YOUNG.saturating_sub(age));
            }
            if let Some(callers) = self.turned_out.one_more(now) {
                tracing::warn!(
                    callers,
                    most_from = %largest,
                    "callers that say nothing were turned away, for there are too many at once"
                );
            }
            if age < YOUNG {
                return Room::None;
            }
        }
        let (keep, over) = oneshot::channel();
        let begun = now;
        self.all.push_back(Handshake { host, begun, keep });
        Room::There(over)
    }

    /// The oldest of those from the address with the most: its place, the address, its age.
    fn first_to_go(&self, now: Instant) -> Option<(usize, IpAddr, Duration)> {
        let mut hosts: HashMap<IpAddr, (usize, usize)> = HashMap::new();
        for (at, one) in self.all.iter().enumerate() {
            hosts.entry(one.host).or_insert((0, at)).0 += 1;
        }
        let most = hosts
            .iter()
            .max_by_key(|(_, (count, at))| (*count, Reverse(*at)));
        let (largest, (_, at)) = most?;
        let oldest = self.all.get(*at)?;
        Some((*at, *largest, now.saturating_duration_since(oldest.begun)))
    }
}

/// Who counts as one: of IPv6 all of the network that one machine commonly has to itself (RFC 4291, section 2.5.4: an
/// interface identifier has 64 bits).
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Counts who was turned out, so that a flood does not flood the log.
#[derive(Debug, Default)]
struct TurnedOut {
    count: u64,
    told: Option<Instant>,
}

impl TurnedOut {
    /// How many there were since they were told last, if they are to be told now.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        let is_due = |told: Instant| now.saturating_duration_since(told) >= WARNINGS;
        if !self.told.is_none_or(is_due) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn there(room: Room) -> oneshot::Receiver<()> {
        match room {
            Room::There(over) => over,
            other => panic!("no room: {other:?}"),
        }
    }

    fn goes_on(over: &mut oneshot::Receiver<()>) -> bool {
        over.try_recv() == Err(TryRecvError::Empty)
    }

    #[test]
    fn the_address_with_the_most_makes_room() {
        let mut handshakes = Handshakes::of(8);
        let begun = Instant::now();
        // Honest callers that take their time, the first before all others.
        let mut honest = vec![there(handshakes.begin(address(1), begun))];
        let flood = |_| there(handshakes.begin(address(9), begun));
        let mut flood: Vec<_> = (0..6).map(flood).collect();
        honest.push(there(handshakes.begin(address(2), begun)));
        let later = begun + YOUNG;
        for turned_out in 0..4 {
            honest.push(there(handshakes.begin(address(3 + turned_out), later)));
            let going = flood.iter_mut().map(goes_on);
            let going: Vec<_> = going.collect();
            let expected = (0..6).map(|at| at > usize::from(turned_out));
            assert_eq!(going, expected.collect::<Vec<_>>());
        }
        // One each now, but for the flood: it goes on at its own cost.
        for after in 1..20 {
            flood.push(there(handshakes.begin(address(9), later + YOUNG * after)));
        }
        assert!(honest.iter_mut().all(goes_on));
        assert_eq!(handshakes.all.len(), 8);
    }

    #[test]
    fn a_handshake_has_its_time() {
        let mut handshakes = Handshakes::of(4);
        let begun = Instant::now();
        let mut all: Vec<_> = (0..4)
            .map(|_| there(handshakes.begin(address(1), begun)))
            .collect();
        let soon = begun + YOUNG / 2;
        assert!(matches!(handshakes.begin(address(1), soon), Room::None));
        let Room::After(wait) = handshakes.begin(address(2), soon) else {
            panic!("there is no room yet, and will be");
        };
        assert_eq!(soon + wait, begun + YOUNG);
        assert!(all.iter_mut().all(goes_on));
        // Whoever is done makes room at once.
        drop(all.pop());
        let _two = there(handshakes.begin(address(2), soon));
        assert!(all.iter_mut().all(goes_on));
        let _three = there(handshakes.begin(address(3), soon + wait));
        assert!(!goes_on(&mut all[0]) && goes_on(&mut all[1]));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_an_address_has_one_form() {
        let host = |text: &str| host(text.parse().unwrap());
        assert_eq!(host("2001:db8:1:2::a"), host("2001:db8:1:2:ffff::b"));
        assert_ne!(host("2001:db8:1:2::a"), host("2001:db8:1:3::a"));
        assert_eq!(host("::ffff:192.0.2.1"), address(1));
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
    }

    #[test]
    fn a_flood_is_told_once_a_minute() {
        let mut turned_out = TurnedOut::default();
        let begun = Instant::now();
        assert_eq!(turned_out.one_more(begun), Some(1));
        for _ in 0..1_000 {
            assert_eq!(turned_out.one_more(begun + WARNINGS / 2), None);
        }
        assert_eq!(turned_out.one_more(begun + WARNINGS), Some(1_001));
    }
}
