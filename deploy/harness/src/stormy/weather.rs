//! How the store behaves.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// How likely each fault is, from 0 to 1, for each request on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// 500, and nothing was done.
    pub errors: f64,
    /// 503 `SlowDown` or 429, and nothing was done.
    pub throttled: f64,
    /// It was done, and the answer is 500.
    pub answers_lost: f64,
    /// It was done, and no answer comes for as long as the caller waits.
    pub answers_hang: f64,
    /// It is done and answered up to this late. A caller who leaves before that does not stop it.
    pub slow: f64,
    /// How late at most.
    pub late: Duration,
    /// One bit of the object that is read is flipped.
    pub wrong_bytes: f64,
    /// Listings leave out what is younger.
    pub list_lag: Duration,
    /// A put with `If-None-Match: *` replaces what is there.
    pub ignores_create: bool,
    /// No request is done or answered with anything but 503.
    pub away: bool,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    Error,
    Throttled,
    AnswerLost,
    AnswerHangs,
}

/// What was drawn for one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) fate: Fate,
    pub(super) delay: Duration,
    /// Of two ways to say the same.
    pub(super) other_way: bool,
    /// Which bit of the answer is wrong, as a share of all.
    pub(super) wrong_bit: Option<u32>,
}

impl Weather {
    /// No fault at all.
    pub fn fair() -> Self {
        Self::default()
    }

    pub(super) fn draw(&self, rng: &mut StdRng) -> Drawn {
        let mut point: f64 = rng.random();
        let mut fate = Fate::Good;
        for (share, other) in [
            (self.errors, Fate::Error),
            (self.throttled, Fate::Throttled),
            (self.answers_lost, Fate::AnswerLost),
            (self.answers_hang, Fate::AnswerHangs),
        ] {
            if point < share {
                fate = other;
                break;
            }
            point -= share;
        }
        if self.away {
            fate = Fate::Throttled;
        }
        let delay = if self.slow > 0.0 && rng.random_bool(self.slow) {
            self.late.mul_f64(rng.random())
        } else {
            Duration::ZERO
        };
        let wrong = self.wrong_bytes > 0.0 && rng.random_bool(self.wrong_bytes);
        Drawn {
            fate,
            delay,
            other_way: rng.random(),
            wrong_bit: wrong.then(|| rng.next_u32()),
        }
    }
}
