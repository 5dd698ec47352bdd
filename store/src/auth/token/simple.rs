//! Tokens without a signature, known to every member because they are made by log entries.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::time::Instant;

use super::Tokens;

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const PREFIX_LETTERS: usize = 16;
/// How often tokens that nobody uses any more are looked for, at most.
const SWEEP: Duration = Duration::from_secs(1);
/// Far enough not to matter, near enough not to overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The simple tokens of one member: sixteen random letters, a dot, and the log index of the entry that made the token
/// (etcd, `server/auth/simple_token.go`). They live in memory only, and as long as they are used within their time.
#[derive(Debug)]
pub struct SimpleTokens {
    ttl: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Tokens are only kept while authentication is on.
    enabled: bool,
    tokens: HashMap<String, Held>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    user: String,
    until: Instant,
}

impl SimpleTokens {
    /// No tokens yet. `ttl` is how long an unused token lives; zero is etcd's default.
    pub fn new(ttl: Duration) -> Self {
        let ttl = if ttl.is_zero() {
            Tokens::SIMPLE_TTL
        } else {
            ttl.min(LONGEST)
        };
        Self {
            ttl,
            state: Mutex::new(State {
                enabled: false,
                tokens: HashMap::new(),
                swept: None,
            }),
        }
    }

    /// The random part of a new token, chosen by the member that checked the password.
    pub fn new_prefix() -> String {
        let mut random = rand::rng();
        (0..PREFIX_LETTERS)
            .filter_map(|_| LETTERS.get(random.random_range(0..LETTERS.len())))
            .map(|&letter| char::from(letter))
            .collect()
    }

    /// The token of `prefix` made by the entry at `index`.
    pub fn token(prefix: &str, index: u64) -> String {
        format!("{prefix}.{index}")
    }

    /// The log index that a token names; `None` when it is not of this form.
    pub fn index_of(token: &str) -> Option<u64> {
        let (_, index) = token.split_once('.')?;
        // A sign would be accepted by the parser, and a second dot refused.
        index
            .starts_with(|first: char| first.is_ascii_digit())
            .then(|| index.parse().ok())?
    }

    /// Starts to keep tokens.
    pub fn enable(&self) {
        self.state.lock().enabled = true;
    }

    /// Forgets all tokens and keeps none.
    pub fn disable(&self) {
        let mut state = self.state.lock();
        state.enabled = false;
        state.tokens.clear();
    }

    /// Keeps a token.
    pub fn assign(&self, token: String, user: String) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if !state.enabled {
            return;
        }
        if state.swept.is_none_or(|swept| now >= swept + SWEEP) {
            state.swept = Some(now);
            state.tokens.retain(|_, held| held.until > now);
        }
        let until = now + self.ttl;
        state.tokens.insert(token, Held { user, until });
    }

    /// The user of a token, whose time starts anew.
    pub fn user_of(&self, token: &str) -> Option<String> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let held = state.tokens.get_mut(token)?;
        if held.until <= now {
            state.tokens.remove(token);
            return None;
        }
        held.until = now + self.ttl;
        Some(held.user.clone())
    }

    /// Forgets all tokens of a user.
    pub fn invalidate(&self, user: &str) {
        self.state.lock().tokens.retain(|_, held| held.user != user);
    }

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.state.lock().tokens.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn one(user: &str) -> (SimpleTokens, String) {
        let tokens = SimpleTokens::new(TTL);
        tokens.enable();
        let token = SimpleTokens::token(&SimpleTokens::new_prefix(), 7);
        tokens.assign(token.clone(), user.to_owned());
        (tokens, token)
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_as_long_as_it_is_used() {
        let (tokens, token) = one("alice");
        for _ in 0..3 {
            tokio::time::advance(TTL.mul_f64(0.99)).await;
            assert_eq!(tokens.user_of(&token).as_deref(), Some("alice"));
        }
        tokio::time::advance(TTL).await;
        assert_eq!(tokens.user_of(&token), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_and_too_long_a_time_are_times_too() {
        for ttl in [Duration::ZERO, Duration::MAX] {
            let tokens = SimpleTokens::new(ttl);
            tokens.enable();
            tokens.assign("token.1".to_owned(), "alice".to_owned());
            tokio::time::advance(TTL.mul_f64(0.99)).await;
            assert_eq!(tokens.user_of("token.1").as_deref(), Some("alice"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unused_tokens_do_not_pile_up() {
        let (tokens, _) = one("alice");
        for _ in 0..100 {
            tokio::time::advance(TTL / 2).await;
            tokens.assign(SimpleTokens::new_prefix(), "bob".to_owned());
            assert!(tokens.len() <= 3, "{}", tokens.len());
        }
    }

    #[tokio::test]
    async fn a_user_and_the_end_of_authentication_take_tokens_away() {
        let (tokens, token) = one("alice");
        tokens.assign("other.1".to_owned(), "bob".to_owned());
        tokens.invalidate("alice");
        assert_eq!(tokens.user_of(&token), None);
        assert_eq!(tokens.user_of("other.1").as_deref(), Some("bob"));
        tokens.disable();
        assert!(tokens.is_empty());
        tokens.assign(token.clone(), "alice".to_owned());
        assert_eq!(tokens.user_of(&token), None);
    }

    #[test]
    fn a_token_names_its_index() {
        let prefix = SimpleTokens::new_prefix();
        assert_eq!(prefix.len(), 16);
        assert!(prefix.bytes().all(|letter| letter.is_ascii_alphabetic()));
        assert_ne!(prefix, SimpleTokens::new_prefix());
        assert_eq!(
            SimpleTokens::index_of(&SimpleTokens::token(&prefix, 42)),
            Some(42)
        );
        for odd in [
            "",
            "abc",
            "a.b",
            "a.1.2",
            "a.+1",
            "a.",
            "a.99999999999999999999",
        ] {
            assert_eq!(SimpleTokens::index_of(odd), None, "{odd}");
        }
    }
}
