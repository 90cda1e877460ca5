//! `connect git-receive-pack`: one advertisement, one request, one report (gitprotocol-pack(5), "Pushing Data To a
//! Server").
use std::{
    cell::RefCell,
    io::{self, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use super::{
    advertisement::first_packet,
    git::{Git, Service},
    outcome::{Broken, Stage},
    pktline::{self, Boundaries, ERROR_PREFIX, Ending},
    rpc::{copy, incomplete},
    session::{Repeat, Session},
};
use crate::{
    failure::{Failure, Kind},
    http::{Body, BodyReader, Phase, Request, Response, ResponseBody, TransportError},
};

/// More than any response to a lone flush-pkt, which is empty.
const MAX_PROBED_BYTES: usize = 64 * 1024;
/// The longest first line that gets more capabilities (gitprotocol-common(5): a pkt-line has 65516 bytes of data).
const MAX_FIRST_BYTES: usize = 65_000;
/// The longest accepted response to a push: the output of hooks, and one pkt-line for each ref.
const MAX_SAID_BYTES: u64 = 64 * 1024 * 1024;
const MAX_REPORTED_BYTES: u64 = 64 * 1024;

/// Serves a push. Git interprets the server's report.
pub(super) fn serve(session: &mut Session<'_>, git: &mut Git) -> Result<(), Broken> {
    let added = advertise(session, git)?;
    let Some(commands) = read_commands(git).map_err(Broken::at(Stage::InAnswer))? else {
        return Ok(());
    };
    let (reports, refs) = (commands.reports, commands.refs);
    let stage = match reports {
        true => Stage::BeforeReport {
            by_side_band: commands.by_side_band,
        },
        false => Stage::InAnswer,
    };
    let lost = Broken::at(stage);
    if let Some(unsupported) = added.iter().find(|name| commands.uses.contains(name)) {
        return Err(lost(session.unsupported(unsupported)));
    }
    let response = send(session, git, commands).map_err(&lost)?;
    let mut answer = BodyReader::new(Bounded {
        rest: response,
        host: session.host().to_owned(),
        most_bytes: MAX_SAID_BYTES + refs * MAX_REPORTED_BYTES,
        bytes: 0,
    });
    let ending =
        copy(session, git, &mut answer, Boundaries::default()).map_err(|broken| Broken {
            stage: match broken.stage {
                Stage::BeforeAnswer => stage,
                _ => Stage::InAnswer,
            },
            error: session.unknown(broken.error),
        })?;
    let cut = || {
        let why = anyhow::anyhow!("it ends before the push report is complete");
        session.unknown(session.bad_answer(why))
    };
    match ending {
        Ending::Flush | Ending::Error => Ok(()),
        _ if !reports => Ok(()),
        Ending::Empty => Err(lost(cut())),
        _ => Err(Broken::at(Stage::InAnswer)(cut())),
    }
}

/// A response with a limit, because an endless response would never end in git's own https.
struct Bounded {
    rest: Response,
    host: String,
    most_bytes: u64,
    bytes: u64,
}

impl ResponseBody for Bounded {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let chunk = self.rest.next_chunk()?;
        self.bytes += chunk.as_ref().map_or(0, Bytes::len) as u64;
        if self.bytes > self.most_bytes {
            let why = format!(
                "it is longer than {} MiB, so the helper stopped reading",
                self.most_bytes >> 20
            );
            return Err(TransportError::new(Phase::Answer, &self.host, why));
        }
        Ok(chunk)
    }
}

/// Capabilities without which git dies with 128, but exits with 1 over https (git: `send_pack`). The helper adds them
/// to the advertisement, so that git sends its commands, and then refuses the push itself.
const ADDED: [&str; 2] = ["push-options", "atomic"];

/// Streams the ref advertisement to git, because it may be megabytes long. Gives the added capabilities.
fn advertise(session: &mut Session<'_>, git: &mut Git) -> Result<Vec<&'static str>, Broken> {
    let connecting = Broken::at(Stage::Connecting);
    let (first, mut body) = loop {
        let response = session
            .discover(Service::ReceivePack, session.push_protocol)
            .map_err(&connecting)?;
        let mut body = BodyReader::new(response);
        let _armed = session.watch_until_over(&Boundaries::default());
        match first_packet(&mut body).map_err(|error| session.bad_packet(error)) {
            Ok(first) => break (first.packet, body),
            Err(error) if session.is_asked_again(&error) => {}
            Err(error) => return Err(connecting(error)),
        }
    };
    if let Some(message) = first[4..].strip_prefix(ERROR_PREFIX) {
        return Err(connecting(session.told(message)));
    }
    let mut seen = Boundaries::default();
    if seen.follow(&first).is_err() {
        return Err(connecting(session.no_pkt_line()));
    }
    let (first, added) = with_added(first);
    let greeting = [b"\n", first.as_slice()].concat();
    git.write(&greeting).map_err(Broken::at(Stage::InAnswer))?;
    match copy(session, git, &mut body, seen)? {
        Ending::Flush => Ok(added),
        other => Err(incomplete(session, other)),
    }
}

/// Adds the capabilities of [`ADDED`] that are missing in the first pkt-line of an advertisement.
fn with_added(first: Vec<u8>) -> (Vec<u8>, Vec<&'static str>) {
    let text = std::str::from_utf8(&first).unwrap_or("");
    let Some((refs, capabilities)) = text.get(4..).and_then(|line| line.split_once('\0')) else {
        return (first, Vec::new());
    };
    let capabilities = capabilities.trim_end_matches('\n');
    let lacking = ADDED
        .into_iter()
        .filter(|name| !capabilities.split(' ').any(|word| word == *name));
    let added: Vec<_> = lacking.collect();
    let line = format!("{refs}\0{capabilities} {}\n", added.join(" "));
    match added.is_empty() || line.len() > MAX_FIRST_BYTES {
        true => (first, Vec::new()),
        false => (pktline::encode(&line), added),
    }
}

/// Git's commands for a push, before the pack.
struct Commands {
    bytes: Vec<u8>,
    /// Whether a pack follows up to the end of the input. Deletions alone have none.
    pack_follows: bool,
    /// Whether git requests a report for each ref.
    reports: bool,
    /// Whether the report uses a side band.
    by_side_band: bool,
    /// The capabilities of [`ADDED`] that git uses.
    uses: Vec<&'static str>,
    /// The number of refs.
    refs: u64,
}

/// Reads git's commands; `None` if there is nothing to do (dry run, up to date, or git gave up).
fn read_commands(git: &mut Git) -> anyhow::Result<Option<Commands>> {
    let mut seen = Seen::default();
    let gave_up = |error: io::Error| {
        anyhow::Error::new(error)
            .context(Failure::new(Kind::NoMessage, "git's request is incomplete"))
    };
    let Some(mut bytes) =
        pktline::read_section(git.input(), |line| seen.command(line)).map_err(gave_up)?
    else {
        return Ok(None);
    };
    if seen.commands == 0 {
        return Ok(None);
    }
    if seen.has("push-options") {
        let options = pktline::read_section(git.input(), |_| {}).map_err(gave_up)?;
        bytes.extend(options.unwrap_or_default());
    }
    Ok(Some(Commands {
        bytes,
        pack_follows: seen.updates,
        reports: seen.has("report-status") || seen.has("report-status-v2"),
        by_side_band: seen.has("side-band-64k"),
        uses: ADDED.into_iter().filter(|name| seen.has(name)).collect(),
        refs: seen.commands,
    }))
}

/// The facts found in the commands of a push.
#[derive(Default)]
struct Seen {
    commands: u64,
    updates: bool,
    capabilities: String,
}

impl Seen {
    /// Reads one line: `shallow <oid>`, `push-cert\0<capabilities>`, or a command, which may be inside a certificate.
    fn command(&mut self, line: &[u8]) {
        let mut halves = line.splitn(2, |byte| *byte == 0);
        let command = halves.next().unwrap_or_default();
        if let Some(capabilities) = halves.next() {
            self.capabilities = String::from_utf8_lossy(capabilities).trim().to_owned();
        }
        let mut words = command.split(|byte| *byte == b' ');
        let (Some(old), Some(new), Some(_)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        if is_object_id(old) && is_object_id(new) {
            self.commands += 1;
            self.updates |= new.iter().any(|digit| *digit != b'0');
        }
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.split(' ').any(|word| word == capability)
    }
}

fn is_object_id(word: &[u8]) -> bool {
    matches!(word.len(), 40 | 64) && word.iter().all(u8::is_ascii_hexdigit)
}

/// Sends commands and pack. A push that fits into the buffer is sent as a whole, so that it can be repeated after a
/// refused token. A larger push streams while git writes it.
fn send(session: &mut Session<'_>, git: &mut Git, commands: Commands) -> anyhow::Result<Response> {
    let mut head = commands.bytes;
    let mut complete = true;
    if commands.pack_follows {
        let room = session.room().saturating_sub(head.len()) as u64;
        let read = git.input().take(room + 1).read_to_end(&mut head);
        complete = read.map_err(anyhow::Error::new)? as u64 <= room;
    }
    // A push cannot be sent twice. After an idle time, first check that token and connection still work.
    if session.is_idle() {
        probe(session)?;
    }
    if complete {
        let body = Bytes::from(head);
        let repeat = Repeat::Never {
            sent: &AtomicBool::new(true),
            is_kept: true,
        };
        return session.post(Service::ReceivePack, repeat, &|mut post: Request| {
            post.body = Body::Bytes(body.clone());
            Ok(post)
        });
    }
    let sent = Arc::new(AtomicBool::new(false));
    let stream = RefCell::new(Some(Whole {
        source: Cursor::new(head).chain(git.take_input()),
        read: Arc::clone(&sent),
    }));
    let repeat = Repeat::Never {
        sent: &sent,
        is_kept: false,
    };
    session.post(Service::ReceivePack, repeat, &|mut post: Request| {
        let stream = stream.take().ok_or_else(|| {
            Failure::new(
                Kind::PushAgain,
                "the server refused the token during the push; nothing was changed on the server",
            )
        })?;
        post.body = Body::Stream(Box::new(stream));
        Ok(post)
    })
}

/// Records when a source was read to its end. Before that, no server can have the whole request.
struct Whole<R> {
    source: R,
    read: Arc<AtomicBool>,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        if length == 0 && !buffer.is_empty() {
            self.read.store(true, Ordering::SeqCst);
        }
        Ok(length)
    }
}

/// Posts a lone flush-pkt, which has no effect on the server (git: `probe_rpc` in remote-curl.c).
///
/// A pre-push hook may have run for minutes since the advertisement. The probe replaces a closed connection and an
/// expired token while that is still possible.
fn probe(session: &mut Session<'_>) -> anyhow::Result<()> {
    let response = session.post(Service::ReceivePack, Repeat::Safe, &|mut post: Request| {
        post.body = Body::Bytes(Bytes::from_static(b"0000"));
        Ok(post)
    })?;
    BodyReader::new(response).drain(MAX_PROBED_BYTES);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn seen(lines: &[String]) -> Seen {
        let mut seen = Seen::default();
        for line in lines {
            seen.command(line.as_bytes());
        }
        seen
    }

    #[test]
    fn a_pack_follows_unless_refs_are_only_deleted() {
        let update = seen(&[format!(
            "{OLD} {NEW} refs/heads/main\0 report-status side-band-64k push-options agent=git/2"
        )]);
        assert!(update.updates && update.has("push-options") && update.has("report-status"));
        let delete = seen(&[
            format!("shallow {OLD}"),
            format!("{OLD} {NONE} refs/heads/main\0 report-status"),
        ]);
        assert!(!delete.updates && delete.commands == 1 && !delete.has("push-options"));
    }

    #[test]
    fn required_capabilities_are_added_once() {
        let encoded = |capabilities: &str| {
            pktline::encode(&format!("{NONE} capabilities^{{}}\0{capabilities}\n"))
        };
        let (first, added) = with_added(encoded("report-status ofs-delta"));
        assert_eq!(added, ADDED);
        assert_eq!(
            first,
            encoded("report-status ofs-delta push-options atomic")
        );
        let (first, added) = with_added(encoded("atomic push-options=x"));
        assert_eq!(added, ["push-options"]);
        assert_eq!(first, encoded("atomic push-options=x push-options"));
        let whole = encoded("atomic push-options");
        assert_eq!(with_added(whole.clone()), (whole, Vec::new()));
        for other in [
            b"000eversion 1\n".to_vec(),
            b"0009\0\xff\xff\xff\n".to_vec(),
        ] {
            assert_eq!(with_added(other.clone()), (other, Vec::new()));
        }
    }

    #[test]
    fn commands_inside_a_certificate_count() {
        let signed = seen(&[
            "push-cert\0report-status push-cert=x".into(),
            "certificate version 0.1\n".into(),
            "pusher A <a@b> 1 +0000\n".into(),
            format!("{NONE} {NEW} refs/heads/main\n"),
            "push-cert-end\n".into(),
        ]);
        assert!(signed.updates && signed.commands == 1 && signed.has("report-status"));
    }

    #[test]
    fn any_commands_are_read_up_to_the_pack_and_no_further() {
        let line = |text: &str| String::from_utf8_lossy(&pktline::encode(text)).into_owned();
        let update = line(&format!(
            "{OLD} {NEW} refs/heads/main\0 report-status agent=git/2"
        ));
        let options = line(&format!("{OLD} {NONE} refs/heads/x\0push-options"));
        let kept = [
            format!("{update}0000PACK"),
            format!("{options}0000{}0000", line("ci.skip")),
            format!("{}{}0000", line(&format!("shallow {OLD}")), update),
            format!("{}0000", line("push-cert\0report-status-v2")),
            "0000".to_owned(),
        ];
        let kept: Vec<_> = kept.iter().map(String::as_bytes).collect();
        crate::inside::fuzz::check(&kept, |input| {
            let mut git = Git::new(Cursor::new(input.to_vec()), io::sink());
            let Ok(commands) = read_commands(&mut git) else {
                return;
            };
            let mut rest = Vec::new();
            git.input().read_to_end(&mut rest).expect("it is in memory");
            let Some(commands) = commands else {
                return;
            };
            assert_eq!([commands.bytes.as_slice(), &rest].concat(), input);
            assert!(commands.bytes.ends_with(b"0000") || rest.is_empty());
            let is_named = |text: &[u8]| input.windows(text.len()).any(|window| window == text);
            assert!(!commands.reports || is_named(b"report-status"));
            assert!(!commands.pack_follows || commands.bytes.len() > 4 + 2 * 40);
        });
    }

    #[test]
    fn sha256_ids_are_ids() {
        assert!(is_object_id("a".repeat(64).as_bytes()));
        assert!(!is_object_id("a".repeat(41).as_bytes()));
    }
}
