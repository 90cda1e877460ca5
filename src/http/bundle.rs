//! A bundle of certificates that is searched as it is, in base64.
//!
//! To decode all of a system's bundle takes most of the helper's start, and one certificate of it is needed. A certificate
//! holds the name of whom it belongs to, so that the issuer of a server's certificate is among those that hold its issuer's
//! name. Which of them it is, and whether it is trusted, is not decided here.

use std::{fs, ops::Range, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use memchr::{memchr, memmem};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";
/// A name with one character takes so many bytes; a shorter one would be found everywhere.
const SHORTEST_NAME_BYTES: usize = 12;
/// A server has no use for more certificates, which each are a search.
const MAX_CHAIN: usize = 16;

/// Certificates in base64, one behind the other, without line ends.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Bundle {
    /// Reads a file; `None` leaves one that cannot be read, or is not as bundles are, to those who read everything.
    pub(super) fn read(path: &Path) -> Option<Self> {
        Bundle::of(fs::read(path).ok()?)
    }

    fn of(mut text: Vec<u8>) -> Option<Self> {
        let begin = memmem::Finder::new(BEGIN);
        let end = memmem::Finder::new(END);
        let (mut read, mut written, mut ends) = (0, 0, Vec::new());
        while let Some(found) = begin.find(&text[read..]) {
            let start = read + found;
            if start > 0 && text[start - 1] != b'\n' {
                return None;
            }
            let body = start + BEGIN.len();
            let until = body + end.find(&text[body..])?;
            written = join_lines(&mut text, body..until, written);
            ends.push(written);
            read = until + END.len();
        }
        text.truncate(written);
        Some(Bundle { text, ends })
    }

    /// Gives the certificates that hold the name of an issuer of one of a server's certificates.
    pub(super) fn issuers(&self, chain: &[&CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
        let parsed = chain
            .iter()
            .take(MAX_CHAIN)
            .filter_map(|certificate| EndEntityCert::try_from(*certificate).ok());
        let mut found: Vec<usize> = parsed
            .flat_map(|certificate| self.holding(certificate.issuer()))
            .collect();
        found.sort_unstable();
        found.dedup();
        let decoded = found
            .into_iter()
            .filter_map(|number| BASE64.decode(&self.text[self.range(number)]).ok());
        decoded.map(CertificateDer::from).collect()
    }

    /// Finds the certificates that hold these bytes.
    fn holding(&self, bytes: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        if bytes.len() < SHORTEST_NAME_BYTES {
            return found;
        }
        for before in 0..3 {
            let wanted = within(bytes, before);
            for at in memmem::find_iter(&self.text, &wanted) {
                found.push(self.ends.partition_point(|end| *end <= at));
            }
        }
        found
    }

    fn range(&self, number: usize) -> Range<usize> {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[number]
    }
}

/// Moves the lines of a range to where they are written, one behind the other, and tells where they end there.
fn join_lines(text: &mut [u8], range: Range<usize>, mut written: usize) -> usize {
    let mut line = range.start;
    while line < range.end {
        let rest = &text[line..range.end];
        let length = memchr(b'\n', rest).unwrap_or(rest.len());
        let leading = rest[..length].len() - rest[..length].trim_ascii_start().len();
        let kept = rest[..length].trim_ascii().len();
        text.copy_within(line + leading..line + leading + kept, written);
        written += kept;
        line += length + 1;
    }
    written
}

/// Gives what is always the same of bytes in base64, when so many modulo three are before them.
fn within(bytes: &[u8], before: usize) -> Vec<u8> {
    let padded = [&[0; 2][..before], bytes].concat();
    let encoded = BASE64.encode(&padded).into_bytes();
    // Six bits are a character; one that holds bits of others, too, is left out.
    encoded[(before * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject as _;

    /// Bytes as a bundle has them, in lines of a length.
    fn pem(bytes: &[u8], line_length: usize, line_end: &str) -> String {
        let encoded = BASE64.encode(bytes);
        let lines = encoded.as_bytes().chunks(line_length);
        let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned() + line_end);
        let lines: String = lines.collect();
        format!("-----BEGIN CERTIFICATE-----{line_end}{lines}-----END CERTIFICATE-----{line_end}")
    }

    fn bundle(text: &str) -> Option<Bundle> {
        Bundle::of(text.as_bytes().to_vec())
    }

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        let name = b"a name of some length, longer than a line of base64 has characters";
        for (line_length, line_end) in [(64, "\n"), (76, "\r\n"), (1000, " \n")] {
            for before in 0..100 {
                let with = [&vec![0xff; before], &name[..], &vec![0xff; before % 7]].concat();
                let without = [&vec![0xff; before], &name[1..]].concat();
                let parts = [&without, &with, &without, &with];
                let text: String = parts
                    .iter()
                    .map(|bytes| "# who\n".to_owned() + &pem(bytes, line_length, line_end))
                    .collect();
                let bundle = bundle(&text).expect("it is as bundles are");
                assert_eq!(bundle.holding(name), [1, 3], "{before} bytes before it");
                let decoded = BASE64.decode(&bundle.text[bundle.range(3)]);
                assert_eq!(decoded.expect("it is base64"), with);
            }
        }
    }

    #[test]
    fn a_name_that_says_nothing_is_not_looked_for() {
        let bundle = bundle(&pem(&[0xff; 600], 64, "\n")).expect("it is as bundles are");
        for length in 0..SHORTEST_NAME_BYTES {
            assert!(bundle.holding(&vec![0xff; length]).is_empty());
        }
        let found = bundle.holding(&[0xff; SHORTEST_NAME_BYTES]);
        assert!(!found.is_empty() && found.iter().all(|number| *number == 0));
    }

    #[test]
    fn what_is_no_bundle_is_left_to_others() {
        let whole = pem(b"whole", 64, "\n");
        assert_eq!(bundle(&whole).expect("it is one").ends.len(), 1);
        assert_eq!(bundle("# nothing\n").expect("it is empty").ends.len(), 0);
        for other in [
            format!("# {whole}"),
            whole.replace("END", "EMD"),
            format!("{whole}-----BEGIN CERTIFICATE-----\n"),
        ] {
            assert!(bundle(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn whatever_is_taken_for_a_bundle_is_read_as_rustls_reads_it() {
        let one = pem(
            b"the first of the certificates, longer than a line of base64",
            64,
            "\n",
        );
        let other = pem(&[0xfb; 100], 76, "\r\n");
        let kept = [
            format!("{one}{other}"),
            format!("# who\n{one}\n\n# and who\n{other}"),
            one.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            one.replace("-----END", "-----BEGIN CERTIFICATE-----\n-----END"),
        ];
        let kept: Vec<_> = kept.iter().map(String::as_bytes).collect();
        let compared = std::cell::Cell::new(0);
        crate::fuzz::check(&kept, |input| {
            let begins = |what: &[u8]| memmem::find_iter(input, what).count();
            // What stands inside of something else is nothing to others.
            if begins(b"-----BEGIN") != begins(BEGIN) {
                return;
            }
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(input).collect();
            let (Some(bundle), Ok(all)) = (Bundle::of(input.to_vec()), all) else {
                return;
            };
            let found = (0..bundle.ends.len())
                .filter_map(|number| BASE64.decode(&bundle.text[bundle.range(number)]).ok());
            // A broken one is passed over here, and ends the reading there.
            for certificate in found {
                assert!(all.iter().any(|known| known.as_ref() == certificate));
                compared.set(compared.get() + 1);
            }
        });
        assert!(compared.get() > 100, "{}", compared.get());
    }
}
