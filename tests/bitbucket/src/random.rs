//! Random texts and the fingerprints under which secrets are kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A random text of letters and digits.
pub(crate) fn alphanumeric(length: usize) -> String {
    let mut bytes = vec![0; length];
    fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(ALPHANUMERIC[usize::from(*byte) % ALPHANUMERIC.len()]))
        .collect()
}

/// A random text in URL-safe base64, padded with `=`.
pub(crate) fn url_safe(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    fill(&mut random);
    URL_SAFE.encode(random)
}

/// The SHA-256 of a secret in hexadecimal: what is stored and shown in its place.
pub fn fingerprint(secret: &str) -> String {
    hexadecimal(digest(&SHA256, secret.as_bytes()).as_ref())
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new()
        .fill(bytes)
        .expect("because the system has a random generator");
}
