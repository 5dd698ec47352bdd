//! `k8s:enc:PROVIDER:VERSION:KEY:` and encrypted bytes (Kubernetes, "Encrypting Confidential Data at Rest").

/// What begins an encrypted value.
pub(super) const PREFIX: &[u8] = b"k8s:enc:";
/// Names are a few words at most; what is longer is no name.
const MAX_NAME_BYTES: usize = 256;

/// An encrypted value: how, not what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// For example `aescbc`, `secretbox`, `kms`.
    pub provider: String,
    /// The version of the provider's format, for example `v1`.
    pub version: String,
    /// The name of the key, or of the KMS plugin.
    pub key: String,
}

impl Encrypted {
    /// Reads what follows the prefix.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut names = bytes.splitn(4, |byte| *byte == b':').map(|name| {
            let short = name.len() <= MAX_NAME_BYTES;
            std::str::from_utf8(name)
                .ok()
                .filter(|_| short)
                .map(str::to_owned)
        });
        let mut next = || names.next().flatten();
        let read = Self {
            provider: next()?,
            version: next()?,
            key: next()?,
        };
        // The encrypted bytes follow, so there is a fourth part.
        names.next().is_some().then_some(read)
    }
}
