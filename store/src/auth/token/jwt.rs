//! Signed tokens, which any member can check without having seen them before.

use std::fmt;
use std::fs;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivateSec1KeyDer};
use serde::{Deserialize, Serialize};

use super::options::JwtOptions;
use crate::error::{Result, StoreError};

/// Seconds since 1970, from outside so that tests can turn it.
pub type UnixClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Makes and checks JSON web tokens with etcd's claims `username`, `revision` and `exp` (etcd, `server/auth/jwt.go`).
pub struct JwtTokens {
    header: Header,
    validation: Validation,
    /// Absent on a member that has the public key alone: it checks tokens and makes none.
    sign: Option<EncodingKey>,
    verify: DecodingKey,
    ttl_seconds: i64,
    clock: UnixClock,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    exp: i64,
    revision: u64,
    username: &'a str,
}

#[derive(Deserialize)]
struct Claims {
    username: String,
    /// A number in JSON; other makers of tokens may write a fraction.
    revision: f64,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// The keys of one method.
struct Keys {
    sign: Option<EncodingKey>,
    verify: DecodingKey,
}

impl JwtTokens {
    /// Reads the key files.
    ///
    /// # Errors
    /// [`StoreError::Config`] when the method is unknown, a key is missing or not of the method's kind, or the two keys
    /// do not belong together.
    pub fn new(options: &JwtOptions, clock: UnixClock) -> Result<Self> {
        let method = &options.sign_method;
        let algorithm = match method.as_str() {
            "ES512" => {
                return Err(config("sign-method ES512 is not supported: use ES384"));
            }
            "EdDSA" => return Err(config("sign-method EdDSA is none of etcd 3.5's")),
            name => name
                .parse()
                .map_err(|_| config(format!("{name} is no sign-method")))?,
        };
        let public = options.public_key.as_deref().map(read).transpose()?;
        let private = options.private_key.as_deref().map(read).transpose()?;
        let keys = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => hmac(private.as_deref())?,
            Algorithm::ES256 | Algorithm::ES384 => ec(public.as_deref(), private.as_deref())?,
            _ => rsa(public.as_deref(), private.as_deref())?,
        };
        let mut validation = Validation::new(algorithm);
        // The times are compared below, by the clock given and to the second, as etcd does.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let tokens = Self {
            header: Header::new(algorithm),
            validation,
            sign: keys.sign,
            verify: keys.verify,
            ttl_seconds: i64::try_from(options.ttl.as_secs()).unwrap_or(i64::MAX),
            clock,
        };
        tokens.prove_keys_match()?;
        Ok(tokens)
    }

    /// Whether this member makes tokens, or only checks them.
    pub fn can_sign(&self) -> bool {
        self.sign.is_some()
    }

    /// A token for a user whose password was right while auth stood at `revision`.
    ///
    /// # Errors
    /// When this member has no private key, or the key does not sign.
    pub fn sign(&self, user: &str, revision: u64) -> Result<String> {
        let Some(key) = &self.sign else {
            return Err(StoreError::internal(
                "auth: token signing attempted with verify-only key",
            ));
        };
        let claims = NewClaims {
            exp: (self.clock)().saturating_add(self.ttl_seconds),
            revision,
            username: user,
        };
        jsonwebtoken::encode(&self.header, &claims, key)
            .map_err(|error| StoreError::internal_from("cannot sign a JWT", error))
    }

    /// User and auth revision of a token; `None` when it is forged, malformed or out of its time.
    pub fn verify(&self, token: &str) -> Option<(String, u64)> {
        let claims = match jsonwebtoken::decode::<Claims>(token, &self.verify, &self.validation) {
            Ok(data) => data.claims,
            Err(error) => {
                tracing::warn!(%error, "failed to parse a JWT token");
                return None;
            }
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since 1970 are far below 2^52"
        )]
        let now = (self.clock)() as f64;
        let in_time = claims.exp.is_none_or(|exp| now < exp)
            && claims.nbf.is_none_or(|nbf| now >= nbf)
            && claims.iat.is_none_or(|iat| now >= iat);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a saturating conversion is what is wanted: a strange revision is an old or a future one"
        )]
        in_time.then_some((claims.username, claims.revision as u64))
    }

    fn prove_keys_match(&self) -> Result<()> {
        if self.sign.is_none() {
            return Ok(());
        }
        let probe = self
            .sign("", 0)
            .map_err(|error| config(format!("the private key does not sign: {error}")))?;
        jsonwebtoken::decode::<Claims>(&probe, &self.verify, &self.validation)
            .map(drop)
            .map_err(|_| config("the public and the private key do not belong together"))
    }
}

impl fmt::Debug for JwtTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtTokens")
            .field("algorithm", &self.header.alg)
            .field("can_sign", &self.can_sign())
            .finish_non_exhaustive()
    }
}

fn config(reason: impl fmt::Display) -> StoreError {
    StoreError::Config(format!("--auth-token: {reason}"))
}

fn read(file: &str) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| config(format!("cannot read {file}: {error}")))
}

fn hmac(secret: Option<&[u8]>) -> Result<Keys> {
    let secret = secret
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| config("an HMAC sign-method needs priv-key, the file of the secret"))?;
    Ok(Keys {
        sign: Some(EncodingKey::from_secret(secret)),
        verify: DecodingKey::from_secret(secret),
    })
}

fn rsa(public: Option<&[u8]>, private: Option<&[u8]>) -> Result<Keys> {
    let sign = private
        .map(|pem| EncodingKey::from_rsa_pem(pem).map_err(|error| bad("priv-key", "RSA", &error)))
        .transpose()?;
    let derived = private
        .filter(|_| public.is_none())
        .map(public_of)
        .transpose()?;
    let pem = public.or(derived.as_deref()).ok_or_else(no_key)?;
    let verify = DecodingKey::from_rsa_pem(pem).map_err(|error| bad("pub-key", "RSA", &error))?;
    Ok(Keys { sign, verify })
}

fn ec(public: Option<&[u8]>, private: Option<&[u8]>) -> Result<Keys> {
    let sign = private.map(ec_private).transpose()?;
    let derived = private
        .filter(|_| public.is_none())
        .map(public_of)
        .transpose()?;
    let pem = public.or(derived.as_deref()).ok_or_else(no_key)?;
    let verify = DecodingKey::from_ec_pem(pem).map_err(|error| bad("pub-key", "EC", &error))?;
    Ok(Keys { sign, verify })
}

fn bad(option: &str, kind: &str, error: &dyn fmt::Display) -> StoreError {
    config(format!("{option} is no {kind} key in PEM: {error}"))
}

fn no_key() -> StoreError {
    config("neither priv-key nor pub-key is given")
}

fn parse_private(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| config(format!("priv-key is no private key in PEM: {error}")))
}

/// The public half of a private key, as PEM.
fn public_of(private: &[u8]) -> Result<Vec<u8>> {
    let key = parse_private(private)?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| config(format!("priv-key cannot be used: {error}")))?;
    let public = key
        .public_key()
        .ok_or_else(|| config("priv-key does not tell its public key: give pub-key too"))?;
    let text = STANDARD.encode(public.as_ref());
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes())
}

/// An EC private key from either of its PEM forms; the signer takes the newer one (PKCS#8) only.
fn ec_private(pem: &[u8]) -> Result<EncodingKey> {
    match parse_private(pem)? {
        PrivateKeyDer::Pkcs8(key) => Ok(EncodingKey::from_ec_der(key.secret_pkcs8_der())),
        PrivateKeyDer::Sec1(key) => wrap_sec1(&key).map(|der| EncodingKey::from_ec_der(&der)),
        _ => Err(config("priv-key is no EC key")),
    }
}

/// Wraps the older form (SEC 1, RFC 5915) into the newer one (PKCS#8, RFC 5958): a version, the algorithm with the
/// curve, and the old bytes.
fn wrap_sec1(key: &PrivateSec1KeyDer<'_>) -> Result<Vec<u8>> {
    const EC_PUBLIC_KEY: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const P256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[0x06, 5, 0x2b, 0x81, 0x04, 0x00, 0x22];
    let sec1 = key.secret_sec1_der();
    let curve = [P256, P384]
        .into_iter()
        .find(|curve| sec1.windows(curve.len()).any(|bytes| bytes == *curve))
        .ok_or_else(|| config("priv-key is on another curve than P-256 and P-384"))?;
    let algorithm = der(0x30, &[EC_PUBLIC_KEY, curve].concat());
    let body = [&[2, 1, 0], &algorithm[..], &der(0x04, sec1)].concat();
    Ok(der(0x30, &body))
}

/// One value in DER: tag, length, bytes.
fn der(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_be_bytes();
    let length = length.as_slice();
    let significant = length
        .iter()
        .position(|&byte| byte != 0)
        .and_then(|first| length.get(first..))
        .unwrap_or(&[0]);
    let mut out = vec![tag];
    match significant {
        [short @ 0..0x80] => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests;
