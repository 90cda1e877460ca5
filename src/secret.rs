//! A string that does not print itself.

use std::fmt;

use zeroize::Zeroizing;

/// A token, a client secret or a header that holds one.
///
/// It has no `Display`, its `Debug` is redacted, its memory is wiped when it is dropped, and [`Secret::expose`] is
/// the only way to read it, so that every place that does can be found.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a string that must not be shown.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// Reads the secret: only for the header, form body or file it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names the secret without showing it: the first 8 hexadecimal digits of its SHA-256.
    pub fn fingerprint(&self) -> String {
        hex_digest(self.0.as_bytes())[..8].to_owned()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Gives the SHA-256 of some bytes in lower-case hexadecimal digits.
pub fn hex_digest(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let secret = Secret::new("canary");
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "Secret(redacted) Some(Secret(redacted))"
        );
    }

    #[test]
    fn a_fingerprint_is_stable_and_short() {
        assert_eq!(Secret::new("abc").fingerprint(), "ba7816bf");
    }
}
