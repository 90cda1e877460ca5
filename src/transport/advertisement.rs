//! What a server said of itself, remembered between commands: it saves a request and a round trip.
//!
//! Git asks nothing before it has read the server's capability advertisement (gitprotocol-v2(5)), and believes it for
//! the rest of its command: one that is no longer true cannot be taken back. So the remembered one is not handed over
//! on trust. We ask the server what git asked the last time at this place. A server that answers has protocol v2,
//! the repository, the object format and everything else that the question named, and only then git is given the
//! advertisement; when it asks the same question, the answer is already there. On any other outcome git has seen
//! nothing, and the server is asked for its advertisement as ever.
//!
//! What the answered question does not prove is left to rules, so that nothing depends on it:
//! [`is_complete`] and [`may_be_used_with`].

use std::io::{self, BufRead, Read as _};

use super::{
    Git, Service, Session,
    cache::{AdvertisementCache, Remembered},
    pktline::{self, Boundaries},
    rpc::ask,
    session::NoCredential,
};
use crate::{
    failure::{Kind, kind, quote},
    http::{BodyReader, Phase, Response, TransportError},
};

/// The longest v2 capability advertisement that is believed; real ones have some hundred bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Longer ones are not remembered.
const MAX_REMEMBERED_BYTES: usize = 4096;
/// Longer questions are not remembered: their answers are long, too, and one that was not wanted costs its time.
const MAX_QUESTION_BYTES: usize = 16 * 1024;
/// The longest answer that is read to its end although git did not want it.
const MAX_UNWANTED_BYTES: usize = 1024 * 1024;

fn is_sound(remembered: &Remembered) -> bool {
    is_complete(&remembered.advertisement) && is_question(&remembered.question)
}

/// A question that was asked before git did, and the beginning of its answer.
pub(super) struct Prefetched {
    pub(super) advertisement: Vec<u8>,
    question: Vec<u8>,
    /// The answer's first pkt-line, and what follows it.
    answer: Option<(Vec<u8>, BodyReader)>,
}

impl Prefetched {
    /// Asks what git will ask; `None` when nothing is remembered or it is not true any more.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or used, whatever it is asked.
    pub(super) fn ask(session: &mut Session<'_>, git: &Git) -> anyhow::Result<Option<Self>> {
        let remembered = session.memory().and_then(AdvertisementCache::recall);
        // The rules may be newer than the file, and the file may be damaged.
        let Some(remembered) = remembered.filter(is_sound) else {
            return Ok(None);
        };
        if !git.options().iter().all(|option| may_be_used_with(option)) {
            return Ok(None);
        }
        match session.foreseeing(|session| Prefetched::begin(session, remembered)) {
            Ok(foreseen) => Ok(Some(foreseen)),
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
            return Err(session.no_git("it does not answer the question any more"));
        }
        Ok(Prefetched {
            advertisement: remembered.advertisement,
            question: remembered.question,
            answer: Some((head, rest)),
        })
    }

    /// Gives the answer if it is what git wants to know: its first pkt-line, and what follows it.
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
                .memory()
                .inspect(|memory| memory.replace_question(question));
        }
        None
    }
}

/// Asks the server for its v2 capability advertisement; `None` when it speaks an older version.
pub(super) fn discover(session: &mut Session<'_>) -> anyhow::Result<Option<Vec<u8>>> {
    loop {
        let response = session.discover(Service::UploadPack, Some("version=2"))?;
        // Git has been answered nothing yet, so that its end means that nobody waits.
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
        return Err(told(session, message));
    }
    if !first[4..].starts_with(b"version 2") {
        return match is_behind_header && is_older(&first[4..]) {
            true => Ok(None),
            // Git's own transport would read it to its end, which may never come.
            false => Err(session.no_git("its first pkt-line names no version and no ref")),
        };
    }
    let rest = pktline::read_section(&mut (&mut body).take(MAX_BYTES), |_| {});
    let rest = rest.and_then(|rest| rest.ok_or_else(|| empty("it ends without a flush-pkt")));
    let rest = rest.map_err(|error| session.bad_packet(error))?;
    // To its end, so that the connection can be used again; nothing that follows is a part of it.
    body.drain(MAX_UNWANTED_BYTES);
    Ok(Some([first, rest].concat()))
}

/// Reads the first pkt-line behind the `# service=` header, which is not part of what git reads over `connect`.
pub(super) fn first_packet(body: &mut dyn BufRead) -> io::Result<First> {
    let mut packet = read_one(body)?;
    let is_behind_header = packet[4..].starts_with(b"# service=");
    if is_behind_header {
        // It holds nothing that is read: one that does not end soon is none.
        pktline::read_section(&mut body.take(MAX_BYTES), |_| {})?;
        packet = read_one(body)?;
    }
    Ok(First {
        packet,
        is_behind_header,
    })
}

/// What an advertisement begins with.
pub(super) struct First {
    /// The pkt-line, with its length.
    pub(super) packet: Vec<u8>,
    /// Versions 0 and 1 have the header, version 2 may (gitprotocol-http(5), "Smart Server Response").
    is_behind_header: bool,
}

/// Tells whether an advertisement of version 0 or 1 begins so: with nothing, its version or an object's id
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

/// Puts the server's own `ERR ` message into ours.
pub(super) fn told(session: &Session<'_>, message: &[u8]) -> anyhow::Error {
    session.told(&quote(&String::from_utf8_lossy(message)))
}

/// Keeps an advertisement that git has just worked with, and the question that it asked after it.
pub(super) fn remember(session: &Session<'_>, advertisement: &[u8], question: &[u8]) {
    // A redirect may lead elsewhere the next time, or nowhere.
    if is_question(question) && is_complete(advertisement) && !session.was_moved() {
        session
            .memory()
            .inspect(|memory| memory.keep(advertisement, question));
    }
}

/// Tells whether the error would have come without anything remembered, too.
fn would_be_the_same(error: &anyhow::Error) -> bool {
    let never_asked = error
        .downcast_ref::<TransportError>()
        .is_some_and(|error| matches!(error.phase, Phase::Connect | Phase::Tls | Phase::TimeLimit));
    let is_about_us = matches!(
        kind(error),
        Some(Kind::Hangup | Kind::Busy | Kind::ScopeMissing { .. })
    );
    never_asked || is_about_us || error.is::<NoCredential>()
}

/// Tells whether git's first request can be asked ahead: the refs; what git has and wants changes each time.
fn is_question(request: &[u8]) -> bool {
    request.len() <= MAX_QUESTION_BYTES
        && packets(request).is_some_and(|packets| packets.first() == Some(&"command=ls-refs"))
}

/// Tells whether git would do the same with any newer advertisement of the server that answers the same question.
///
/// Git dies when it is asked for something that is not there, so that what the server may have gained must not be
/// missing here. What is not known here may be anything.
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
        // The object format is named, so that a question names it and a server of another one does not answer.
        && has("object-format", "")
        && has("ls-refs", "")
        && has("server-option", "")
        && has("fetch", "shallow")
        && has("fetch", "wait-for-done")
}

/// Tells whether an option of git's leaves the remembered advertisement in use.
///
/// Whether the server can filter is not proved by its answer to a question, and git takes a filter that is not
/// announced for one to do without, or asks for one that is not there any more.
fn may_be_used_with(option: &str) -> bool {
    let name = option.split(' ').nth(1).unwrap_or("");
    !matches!(name, "filter" | "from-promisor")
}

/// Splits pkt-lines that are text; their ends of line, and whatever holds no data, are left out.
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
    fn only_what_lacks_nothing_and_holds_nothing_unknown_is_remembered() {
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
    fn only_the_list_of_refs_is_asked_for_ahead() {
        assert!(is_question(&encode(&["command=ls-refs", "agent=git/2"])));
        assert!(!is_question(&encode(&["command=fetch"])));
        assert!(!is_question(b"0014command=ls-r"));
        assert!(may_be_used_with("option depth 1"));
        assert!(!may_be_used_with("option filter blob:none"));
        assert!(!may_be_used_with("option from-promisor 1"));
    }

    #[test]
    fn whatever_a_server_says_of_itself_is_read_or_refused() {
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
        crate::fuzz::check(&kept, |input| {
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
