//! Searches a certificate bundle without decoding its base64.
//!
//! Decoding the system's whole bundle takes most of the helper's start time, and only one certificate is needed. Each
//! certificate contains the name of its owner. So the issuer of a server's certificate is among the certificates that
//! contain the issuer's name. The caller decides which of them to trust.

use std::{io::Read, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use memchr::{memchr, memmem};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::files::foreign;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";
/// The part of a bundle that is in memory at a time. Lines are shorter.
const BLOCK_BYTES: usize = 16 * 1024;
/// Room for the base64 of most certificates.
const USUAL_BYTES: usize = 4096;
/// The length of a name with one character. Shorter byte strings would match everywhere.
const SHORTEST_NAME_BYTES: usize = 12;
/// No server needs more certificates, and each one costs a search.
const MAX_CHAIN: usize = 16;

/// Gives the certificates of a bundle that contain the issuer's name of one of a server's certificates.
///
/// `None` if the file cannot be read or has an unusual format. The caller then reads all of it.
pub(super) fn issuers(
    path: &Path,
    chain: &[&CertificateDer<'_>],
) -> Option<Vec<CertificateDer<'static>>> {
    let parsed = chain
        .iter()
        .take(MAX_CHAIN)
        .filter_map(|certificate| EndEntityCert::try_from(*certificate).ok());
    let names: Vec<Vec<u8>> = parsed
        .map(|certificate| certificate.issuer().to_vec())
        .collect();
    let mut search = Search::of(&names);
    each_line(foreign::open(path).ok()?, BLOCK_BYTES, |line| {
        search.read(line)
    })?;
    let found = search.end()?;
    let decoded = found.iter().filter_map(|text| BASE64.decode(text).ok());
    Some(decoded.map(CertificateDer::from).collect())
}

/// Reads line by line; `None` if `tell` stops, or if a line does not fit into the block.
fn each_line(
    mut source: impl Read,
    block_bytes: usize,
    mut tell: impl FnMut(&[u8]) -> Option<()>,
) -> Option<()> {
    let mut block = vec![0; block_bytes];
    let mut filled = 0;
    while filled < block.len() {
        let length = source.read(&mut block[filled..]).ok()?;
        filled += length;
        let mut told = 0;
        while let Some(end) = memchr(b'\n', &block[told..filled]) {
            tell(&block[told..told + end])?;
            told += end + 1;
        }
        if length == 0 {
            return tell(&block[told..filled]);
        }
        block.copy_within(told..filled, 0);
        filled -= told;
    }
    None
}

/// A search for names in the certificates of a bundle.
struct Search {
    wanted: Vec<memmem::Finder<'static>>,
    begin: memmem::Finder<'static>,
    /// The base64 of the current certificate.
    certificate: Option<Vec<u8>>,
    found: Vec<Vec<u8>>,
}

impl Search {
    fn of(names: &[Vec<u8>]) -> Self {
        let names = names
            .iter()
            .filter(|name| name.len() >= SHORTEST_NAME_BYTES);
        let wanted = names
            .flat_map(|name| (0..3).map(|before| within(name, before)))
            .map(|text| memmem::Finder::new(&text).into_owned());
        Search {
            wanted: wanted.collect(),
            begin: memmem::Finder::new(BEGIN),
            certificate: None,
            found: Vec::new(),
        }
    }

    /// Reads the next line; `None` if no bundle has such a line.
    fn read(&mut self, line: &[u8]) -> Option<()> {
        let text = line.trim_ascii();
        match &mut self.certificate {
            None if text == BEGIN && line.starts_with(BEGIN) => {
                self.certificate = Some(Vec::with_capacity(USUAL_BYTES));
            }
            None if self.begin.find(text).is_some() => return None,
            None => {}
            Some(_) if text == END => {
                let certificate = self.certificate.take()?;
                let mut wanted = self.wanted.iter();
                if wanted.any(|name| name.find(&certificate).is_some()) {
                    self.found.push(certificate);
                }
            }
            Some(_) if text.starts_with(b"-") => return None,
            Some(certificate) => certificate.extend_from_slice(text),
        }
        Some(())
    }

    /// Gives the certificates that contain one of the names, each as base64 in one line.
    fn end(self) -> Option<Vec<Vec<u8>>> {
        self.certificate.is_none().then_some(self.found)
    }
}

/// Gives the base64 characters of `bytes` that do not depend on their neighbors, at an offset modulo three.
fn within(bytes: &[u8], before: usize) -> Vec<u8> {
    let padded = [&[0; 2][..before], bytes].concat();
    let encoded = BASE64.encode(&padded).into_bytes();
    // A character is six bits. Leave out those that also contain bits of the neighbors.
    encoded[(before * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject as _;

    /// Formats bytes as a bundle does, in lines of this length.
    fn pem(bytes: &[u8], line_length: usize, line_end: &str) -> String {
        let encoded = BASE64.encode(bytes);
        let lines = encoded.as_bytes().chunks(line_length);
        let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned() + line_end);
        let lines: String = lines.collect();
        format!("-----BEGIN CERTIFICATE-----{line_end}{lines}-----END CERTIFICATE-----{line_end}")
    }

    fn found(text: &str, name: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut search = Search::of(&[name.to_vec()]);
        // Small enough for lines to cross its end, and large enough for the longest line.
        each_line(text.as_bytes(), 256, |line| search.read(line))?;
        let decode = |text: &Vec<u8>| BASE64.decode(text).expect("it is base64");
        Some(search.end()?.iter().map(decode).collect())
    }

    #[test]
    fn a_name_is_found_at_every_offset() {
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
                let found = found(&text, name).expect("it is as bundles are");
                assert_eq!(found, [&with[..], &with], "{before} bytes before it");
            }
        }
    }

    #[test]
    fn a_name_without_characters_is_skipped() {
        let text = pem(&[0xff; 600], 64, "\n");
        for length in 0..SHORTEST_NAME_BYTES {
            let found = found(&text, &vec![0xff; length]);
            assert!(found.expect("it is as bundles are").is_empty());
        }
        let found = found(&text, &[0xff; SHORTEST_NAME_BYTES]);
        assert_eq!(found.expect("it is as bundles are").len(), 1);
    }

    #[test]
    fn a_file_in_an_unusual_format_is_rejected() {
        let whole = pem(b"a name that is long enough", 64, "\n");
        let among = |text: &str| found(text, b"a name that is long enough");
        assert_eq!(among(&whole).expect("it is one").len(), 1);
        assert_eq!(among(whole.trim_end()).expect("it is one").len(), 1);
        assert_eq!(among("# nothing\n").expect("it is empty").len(), 0);
        for other in [
            format!("# {whole}"),
            whole.replace("END", "EMD"),
            whole.replace("-----END", " ----END"),
            format!("{whole}-----BEGIN CERTIFICATE-----\n"),
            whole.replace('\n', &" ".repeat(300)),
            format!("{}\n{whole}", " ".repeat(300)),
        ] {
            assert!(among(&other).is_none(), "{other}");
        }
    }

    /// Gives all certificates, because each contains the empty name.
    fn certificates(text: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut search = Search::of(&[]);
        search.wanted.push(memmem::Finder::new(b"").into_owned());
        each_line(text, BLOCK_BYTES, |line| search.read(line))?;
        search.end()
    }

    #[test]
    fn every_accepted_bundle_is_read_as_rustls_reads_it() {
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
        crate::inside::fuzz::check(&kept, |input| {
            let begins = |what: &[u8]| memmem::find_iter(input, what).count();
            // rustls ignores blocks inside of other blocks.
            if begins(b"-----BEGIN") != begins(BEGIN) {
                return;
            }
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(input).collect();
            let (Some(found), Ok(all)) = (certificates(input), all) else {
                return;
            };
            let found = found.iter().filter_map(|text| BASE64.decode(text).ok());
            // This search skips a broken certificate, and rustls stops there.
            for certificate in found {
                assert!(all.iter().any(|known| known.as_ref() == certificate));
                compared.set(compared.get() + 1);
            }
        });
        assert!(compared.get() > 100, "{}", compared.get());
    }
}
