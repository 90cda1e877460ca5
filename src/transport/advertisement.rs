//! Remembers a server's capability advertisement between commands, which saves a request and a round trip.
//!
//! Git sends no request before it has read the advertisement (gitprotocol-v2(5)), and uses it for the whole command. An
//! outdated advertisement could not be corrected. So the helper first sends a prefetch: git's last request at this
//! place. A server that answers it has protocol v2, the repository, the object format and everything else that the
//! request names. Only then does git get the remembered advertisement. If git sends the same request, its response is
//! already there. If the prefetch fails, git has seen nothing, and the helper asks for the advertisement as usual.
//!
//! [`is_complete`] and [`may_be_used_with`] exclude what the response does not prove.

use std::io::{self, BufRead, Read as _};

use super::{
    cache::{AdvertisementCache, Remembered},
    git::{Git, Service},
    pktline::{self, Boundaries},
    rpc::ask,
    session::{NoCredential, Session},
};
use crate::{
    failure::{Kind, kind},
    http::{BodyReader, Phase, Response, TransportError},
};

/// The longest accepted v2 capability advertisement. Real ones have a few hundred bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// The longest advertisement that is remembered.
const MAX_REMEMBERED_BYTES: usize = 4096;
/// The longest request that is remembered. Longer ones have long responses, and an unused response costs time.
const MAX_QUESTION_BYTES: usize = 16 * 1024;
/// The longest unused response that is read to its end.
const MAX_UNWANTED_BYTES: usize = 1024 * 1024;

fn is_sound(remembered: &Remembered) -> bool {
    is_complete(&remembered.advertisement) && is_question(&remembered.question)
}

/// A request that the helper sent ahead of git, with the start of its response.
pub(super) struct Prefetched {
    pub(super) advertisement: Vec<u8>,
    question: Vec<u8>,
    /// The first pkt-line of the response, and the rest.
    answer: Option<(Vec<u8>, BodyReader)>,
}

impl Prefetched {
    /// Sends the request that git will probably send; `None` if nothing is remembered or the entry is outdated.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or used by any request.
    pub(super) fn ask(session: &mut Session<'_>, git: &Git) -> anyhow::Result<Option<Self>> {
        let remembered = session.cache.and_then(AdvertisementCache::recall);
        // The rules may be newer than the file, and the file may be damaged.
        let Some(remembered) = remembered.filter(is_sound) else {
            return Ok(None);
        };
        if !git.options().iter().all(|option| may_be_used_with(option)) {
            return Ok(None);
        }
        match session.prefetching(|session| Prefetched::begin(session, remembered)) {
            Ok(prefetched) => Ok(Some(prefetched)),
            Err(error) if would_be_the_same(&error) => Err(error),
            Err(_) => {
                session.forget();
                Ok(None)
            }
        }
    }

    fn begin(session: &mut Session<'_>, remembered: Remembered) -> anyhow::Result<Self> {
        let mut rest = BodyReader::new(ask(session, &remembered.question.clone().into())?);
        let _armed = session.watch_until_over(&Boundaries::default());
        let mut head = Vec::new();
        let first = pktline::read_packet(&mut rest, &mut head);
        first.map_err(|error| session.bad_packet(error))?;
        if head.is_empty() || head[4..].starts_with(pktline::ERROR_PREFIX) {
            return Err(session.not_git("it no longer answers the saved request"));
        }
        Ok(Prefetched {
            advertisement: remembered.advertisement,
            question: remembered.question,
            answer: Some((head, rest)),
        })
    }

    /// Gives the response if git sent the same request: the first pkt-line, and the rest.
    pub(super) fn answer(
        &mut self,
        session: &Session<'_>,
        question: &[u8],
    ) -> Option<(Vec<u8>, BodyReader)> {
        let answer = self.answer.take();
        if self.question == question {
            return answer;
        }
        if let Some((_, rest)) = answer {
            rest.drain(MAX_UNWANTED_BYTES);
        }
        if is_question(question) {
            session
                .cache
                .inspect(|cache| cache.replace_question(question));
        }
        None
    }
}

/// Asks the server for its v2 capability advertisement; `None` if it speaks an older version.
pub(super) fn discover(session: &mut Session<'_>) -> anyhow::Result<Option<Vec<u8>>> {
    loop {
        let response = session.discover(Service::UploadPack, Some("version=2"))?;
        // Git has seen nothing yet. If git ends now, the response is not needed.
        let _armed = session.watch_until_over(&Boundaries::default());
        match read(session, response) {
            Err(error) if session.is_asked_again(&error) => {}
            outcome => return outcome,
        }
    }
}

fn read(session: &Session<'_>, response: Response) -> anyhow::Result<Option<Vec<u8>>> {
    let mut body = BodyReader::new(response);
    let First {
        packet: first,
        is_behind_header,
    } = first_packet(&mut body).map_err(|error| session.bad_packet(error))?;
    if let Some(message) = first[4..].strip_prefix(pktline::ERROR_PREFIX) {
        return Err(session.told(message));
    }
    if !first[4..].starts_with(b"version 2") {
        return match is_behind_header && is_older(&first[4..]) {
            true => Ok(None),
            // Do not hand this to git's own transport: it would read on without a limit.
            false => Err(session.not_git("its first pkt-line names no version and no ref")),
        };
    }
    let rest = pktline::read_section(&mut (&mut body).take(MAX_BYTES), |_| {});
    let rest = rest.and_then(|rest| rest.ok_or_else(|| empty("it ends without a flush-pkt")));
    let rest = rest.map_err(|error| session.bad_packet(error))?;
    // Read to the end, so that the pool can reuse the connection. The rest is not part of the advertisement.
    body.drain(MAX_UNWANTED_BYTES);
    Ok(Some([first, rest].concat()))
}

/// Reads the first pkt-line after the `# service=` header, which git does not expect over `connect`.
pub(super) fn first_packet(body: &mut dyn BufRead) -> io::Result<First> {
    let mut packet = read_one(body)?;
    let is_behind_header = packet[4..].starts_with(b"# service=");
    if is_behind_header {
        // The header has no useful content. The limit ends a header that does not end.
        pktline::read_section(&mut body.take(MAX_BYTES), |_| {})?;
        packet = read_one(body)?;
    }
    Ok(First {
        packet,
        is_behind_header,
    })
}

/// The start of an advertisement.
pub(super) struct First {
    /// The pkt-line, with its length.
    pub(super) packet: Vec<u8>,
    /// Whether the header came first: always in versions 0 and 1, optional in version 2 (gitprotocol-http(5), "Smart
    /// Server Response").
    is_behind_header: bool,
}

/// Tells whether this can start an advertisement of version 0 or 1: nothing, a version or an object id
/// (gitprotocol-pack(5), "Reference Discovery").
fn is_older(packet: &[u8]) -> bool {
    let id = packet.split(|byte| *byte == b' ').next().unwrap_or(packet);
    let is_id = id.len() >= 40 && id.iter().all(u8::is_ascii_hexdigit);
    packet.is_empty() || packet.starts_with(b"version ") || is_id
}

fn read_one(body: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut packet = Vec::new();
    match pktline::read_packet(body, &mut packet)? {
        Some(_) => Ok(packet),
        None => Err(empty("it is empty")),
    }
}

fn empty(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

/// Remembers an advertisement that git has used, with git's first request after it.
pub(super) fn remember(session: &Session<'_>, advertisement: &[u8], question: &[u8]) {
    // The next redirect may have another target.
    if is_question(question) && is_complete(advertisement) && !session.was_moved {
        session
            .cache
            .inspect(|cache| cache.store(advertisement, question));
    }
}

/// Tells whether the usual request would fail in the same way.
fn would_be_the_same(error: &anyhow::Error) -> bool {
    let never_asked = error
        .downcast_ref::<TransportError>()
        .is_some_and(|error| matches!(error.phase, Phase::Connect | Phase::Tls | Phase::TimeLimit));
    let is_about_us = matches!(
        kind(error),
        Some(Kind::NoMessage | Kind::Busy | Kind::SiteRefused { .. })
    );
    never_asked || is_about_us || error.is::<NoCredential>()
}

/// Tells whether a request can be prefetched. Only ls-refs can: the objects that git has and wants change each time.
fn is_question(request: &[u8]) -> bool {
    request.len() <= MAX_QUESTION_BYTES
        && packets(request).is_some_and(|packets| packets.first() == Some(&"command=ls-refs"))
}

/// Tells whether git would behave the same with any newer advertisement of a server that answers the same request.
///
/// Git dies if an option needs a missing capability. So the remembered advertisement must lack no capability that the
/// server may have gained, and must have no unknown capability.
fn is_complete(advertisement: &[u8]) -> bool {
    let Some(packets) =
        packets(advertisement).filter(|_| advertisement.len() <= MAX_REMEMBERED_BYTES)
    else {
        return false;
    };
    let is_known = |line: &&str| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        match name {
            "version 2" | "agent" | "object-format" | "server-option" | "object-info" => true,
            "ls-refs" => matches!(value, "" | "unborn"),
            "fetch" => value
                .split(' ')
                .all(|feature| matches!(feature, "shallow" | "wait-for-done" | "filter")),
            _ => false,
        }
    };
    let has = |name: &str, feature: &str| {
        packets.iter().any(|line| {
            let (found, value) = line.split_once('=').unwrap_or((line, ""));
            found == name && (feature.is_empty() || value.split(' ').any(|word| word == feature))
        })
    };
    packets.first() == Some(&"version 2")
        && packets.iter().all(is_known)
        // With this capability, git's request names the object format, and a server with another format refuses it.
        && has("object-format", "")
        && has("ls-refs", "")
        && has("server-option", "")
        && has("fetch", "shallow")
        && has("fetch", "wait-for-done")
}

/// Tells whether the remembered advertisement may be used with a git option.
///
/// The response to a prefetch does not prove that the server supports filters. With a wrong advertisement, git would
/// silently drop a filter or request one that the server no longer supports.
fn may_be_used_with(option: &str) -> bool {
    let name = option.split(' ').nth(1).unwrap_or("");
    !matches!(name, "filter" | "from-promisor")
}

/// Splits text pkt-lines, without line ends and special packets.
fn packets(mut raw: &[u8]) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    while let Some((prefix, rest)) = raw.split_first_chunk::<4>() {
        raw = rest;
        if let pktline::Packet::Data(length) = pktline::decode(*prefix)? {
            let (data, rest) = raw.split_at_checked(length)?;
            found.push(std::str::from_utf8(data).ok()?.trim_end_matches('\n'));
            raw = rest;
        }
    }
    raw.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: [&str; 6] = [
        "version 2",
        "agent=git/2.47.3-Linux",
        "ls-refs=unborn",
        "fetch=shallow wait-for-done filter",
        "server-option",
        "object-format=sha1",
    ];

    fn encode(lines: &[&str]) -> Vec<u8> {
        let mut raw = Vec::new();
        for line in lines {
            raw.extend(pktline::encode(&format!("{line}\n")));
        }
        raw.extend(b"0000");
        raw
    }

    #[test]
    fn only_an_advertisement_with_all_known_and_no_unknown_capabilities_is_remembered() {
        assert!(is_complete(&encode(&REAL)));
        let optional = ["agent=git/2.47.3-Linux"];
        for (index, line) in REAL.into_iter().enumerate() {
            let mut without = REAL.to_vec();
            without.remove(index);
            assert_eq!(
                is_complete(&encode(&without)),
                optional.contains(&line),
                "without {line}"
            );
        }
        for fetch in ["fetch", "fetch=shallow", "fetch=wait-for-done filter"] {
            let poorer = REAL.map(|line| {
                if line.starts_with("fetch") {
                    fetch
                } else {
                    line
                }
            });
            assert!(!is_complete(&encode(&poorer)), "{fetch}");
        }
        for more in [
            "session-id=1",
            "bundle-uri",
            "fetch=shallow wait-for-done ref-in-want",
            "promisor-remote=x",
        ] {
            let richer = [REAL.as_slice(), &[more]].concat();
            assert!(!is_complete(&encode(&richer)), "{more}");
        }
        assert!(!is_complete(b"000eversion 2\n00"), "a cut pkt-line");
        assert!(!is_complete(&encode(
            &[&REAL[..], &["agent=x"; 600]].concat()
        )));
    }

    #[test]
    fn only_ls_refs_is_prefetched() {
        assert!(is_question(&encode(&["command=ls-refs", "agent=git/2"])));
        assert!(!is_question(&encode(&["command=fetch"])));
        assert!(!is_question(b"0014command=ls-r"));
        assert!(may_be_used_with("option depth 1"));
        assert!(!may_be_used_with("option filter blob:none"));
        assert!(!may_be_used_with("option from-promisor 1"));
    }

    #[test]
    fn any_advertisement_is_read_or_refused() {
        let real = encode(&REAL);
        let with_header = [b"001e# service=git-upload-pack\n0000", real.as_slice()].concat();
        let question = encode(&["command=ls-refs", "agent=git/2", "peel"]);
        let kept = [
            real.as_slice(),
            &with_header,
            &question,
            b"000cERR oops",
            b"0004",
            b"001e# service=git-upload-pack\n",
        ];
        crate::inside::fuzz::check(&kept, |input| {
            if let Ok(First { packet: first, .. }) = first_packet(&mut &input[..]) {
                assert!(first.len() >= 4 && first.len() <= input.len());
            }
            let data = packets(input).map(|packets| packets.concat().len());
            assert!(data.is_none_or(|length| length <= input.len()));
            assert!(!is_complete(input) || input.len() <= MAX_REMEMBERED_BYTES);
            assert!(!is_question(input) || input.len() <= MAX_QUESTION_BYTES);
        });
    }
}
