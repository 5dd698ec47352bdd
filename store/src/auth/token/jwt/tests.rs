use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::TempDir;

use super::*;

const NOW: i64 = 1_800_000_000;

struct Fixture {
    folder: TempDir,
    now: Arc<AtomicI64>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            now: Arc::new(AtomicI64::new(NOW)),
        }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn tokens(
        &self,
        method: &str,
        public: Option<String>,
        private: Option<String>,
    ) -> Result<JwtTokens> {
        let now = Arc::clone(&self.now);
        JwtTokens::new(
            &JwtOptions {
                sign_method: method.to_owned(),
                public_key: public,
                private_key: private,
                ttl: Duration::from_secs(60),
            },
            Arc::new(move || now.load(Ordering::Relaxed)),
        )
    }
}

#[test]
fn a_token_is_valid_for_its_time() {
    let fixture = Fixture::new();
    let secret = fixture.file("secret", b"many bytes");
    let tokens = fixture.tokens("HS256", None, Some(secret)).unwrap();
    let token = tokens.sign("alice", 7).unwrap();
    assert_eq!(tokens.verify(&token), Some(("alice".to_owned(), 7)));
    fixture.now.store(NOW + 59, Ordering::Relaxed);
    assert!(tokens.verify(&token).is_some());
    fixture.now.store(NOW + 60, Ordering::Relaxed);
    assert_eq!(tokens.verify(&token), None);
}

#[test]
fn a_changed_token_is_refused() {
    let fixture = Fixture::new();
    let secret = fixture.file("secret", b"many bytes");
    let other = fixture.file("other", b"other bytes");
    let tokens = fixture.tokens("HS256", None, Some(secret.clone())).unwrap();
    let token = tokens.sign("alice", 7).unwrap();
    let stranger = fixture.tokens("HS256", None, Some(other)).unwrap();
    assert_eq!(stranger.verify(&token), None);
    let longer = fixture.tokens("HS512", None, Some(secret)).unwrap();
    assert_eq!(longer.verify(&token), None, "another method");
    assert_eq!(tokens.verify(""), None);
    assert_eq!(tokens.verify("a.b.c"), None);
}

#[test]
fn the_private_key_alone_is_enough_and_the_public_one_only_checks() {
    for (method, algorithm) in [
        ("ES256", &PKCS_ECDSA_P256_SHA256),
        ("ES384", &PKCS_ECDSA_P384_SHA384),
    ] {
        let fixture = Fixture::new();
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let private = fixture.file("key", pair.serialize_pem());
        let public = fixture.file("pub", pair.public_key_pem());
        let alone = fixture.tokens(method, None, Some(private.clone())).unwrap();
        let both = fixture
            .tokens(method, Some(public.clone()), Some(private))
            .unwrap();
        let checks = fixture.tokens(method, Some(public), None).unwrap();
        let token = alone.sign("bob", 1).unwrap();
        assert!(both.verify(&token).is_some());
        assert!(checks.verify(&token).is_some());
        assert!(!checks.can_sign());
        assert!(checks.sign("bob", 1).is_err());
    }
}

#[test]
fn rsa_signs_in_both_ways() {
    let fixture = Fixture::new();
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let private = fixture.file("key", pair.serialize_pem());
    let public = fixture.file("pub", pair.public_key_pem());
    for method in ["RS256", "RS512", "PS256", "PS384"] {
        let signs = fixture.tokens(method, None, Some(private.clone())).unwrap();
        let checks = fixture.tokens(method, Some(public.clone()), None).unwrap();
        let token = signs.sign("dave", 9).unwrap();
        assert_eq!(checks.verify(&token), Some(("dave".to_owned(), 9)));
    }
    let secret = fixture.file("secret", b"many bytes");
    assert!(fixture.tokens("RS256", None, Some(secret)).is_err());
}

/// A key of `openssl ecparam -name prime256v1 -genkey -noout`, made for this test.
const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIMp4OCUBdbmyIyD2TLb/kGVQcyFFaC7SA4dtilGXlCufoAoGCCqGSM49
AwEHoUQDQgAEMxI0cnqNcbyIaX0xrpi+oJN/Qu9FE5g/V3yJWp14gTNzZfQCLKt2
zBwT2TXLkCT6+H0lURL07Kp1LcXdUbF8KQ==
-----END EC PRIVATE KEY-----
";

#[test]
fn the_older_form_of_an_ec_key_is_read() {
    let fixture = Fixture::new();
    let private = fixture.file("key", SEC1);
    let tokens = fixture.tokens("ES256", None, Some(private)).unwrap();
    let token = tokens.sign("carol", 3).unwrap();
    assert_eq!(tokens.verify(&token), Some(("carol".to_owned(), 3)));
}

#[test]
fn unusable_keys_are_named() {
    let fixture = Fixture::new();
    let one = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let two = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let private = fixture.file("key", one.serialize_pem());
    let public = fixture.file("pub", two.public_key_pem());
    let cases = [
        (
            fixture.tokens("ES256", Some(public), Some(private.clone())),
            "belong together",
        ),
        (fixture.tokens("RS256", None, Some(private.clone())), "RSA"),
        (fixture.tokens("ES256", None, None), "neither"),
        (fixture.tokens("HS256", None, None), "secret"),
        (
            fixture.tokens("ES512", None, Some(private.clone())),
            "ES384",
        ),
        (fixture.tokens("XX", None, Some(private)), "no sign-method"),
        (
            fixture.tokens("ES256", None, Some("/does/not/exist".to_owned())),
            "/does/not/exist",
        ),
    ];
    for (outcome, word) in cases {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}
