//! The identity that a CI service gives its jobs: a key pair, and signed tokens (RFC 7519, RFC 7515).

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// What stands before the point of a key on P-256 in a SubjectPublicKeyInfo (RFC 5480 section 2).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// For whom the tokens are.
pub(crate) const AUDIENCE: &str = "https://vault.example";

/// A CI service that signs tokens.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// Makes a key pair.
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("it is random");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random);
        Issuer {
            key: key.expect("it was just made"),
            random,
        }
    }

    /// The public key, as PEM.
    pub(crate) fn public_key(&self) -> String {
        let key = [&P256_PREFIX, self.key.public_key().as_ref()].concat();
        let text = STANDARD.encode(key);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// The token of a job, which ends at a time in seconds since 1970.
    pub(crate) fn token(&self, expires_at_unix_s: u64) -> String {
        self.token_for(AUDIENCE, expires_at_unix_s)
    }

    /// A token for another audience.
    pub(crate) fn token_for(&self, audience: &str, expires_at_unix_s: u64) -> String {
        self.signed(&json!({
            "sub": "project:acme/app",
            "aud": audience,
            "iat": expires_at_unix_s - 3600,
            "exp": expires_at_unix_s,
        }))
    }

    /// A token with these claims.
    pub(crate) fn signed(&self, claims: &Value) -> String {
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let header = json!({"alg": "ES256", "typ": "JWT"});
        let signed = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes());
        let signature = signature.expect("the system has random bytes");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
