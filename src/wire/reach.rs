//! Servers that git's own transport reaches and the native one does not: git is tried once, and the result is kept for
//! a day.
//!
//! The native TLS supports fewer certificates and handshakes than git's does. Git verifies the server by the same
//! settings, so a certificate that git rejects, too, stays rejected.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command as Process, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{house::places, identity::authority};
use crate::{
    clock::{Clock as _, SystemClock},
    git_config::process_variable,
    files::Directory,
    http::Url,
    limits,
    profile::Profile,
    transport,
};

/// The file format's version: another one is not read.
const VERSION: u32 = 1;
/// The directory below the cache's, with a file for each server.
const DIRECTORY: &str = "by-git";
/// An older result is not used.
const MAX_AGE_S: u64 = 24 * 3600;
/// A longer file is not ours.
const MAX_FILE_BYTES: u64 = 4096;
/// How long git may take to get an answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How much of git's trace is read.
const MAX_TRACE_BYTES: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    learned_unix_s: u64,
    because: String,
}

/// Says why a server is left to git's own transport, if it is.
pub(super) fn remembered(profile: &Profile, url: &Url) -> Option<String> {
    let (_, directory, name) = place(profile, url)?;
    let directory = Directory::open(&directory).ok()?;
    let text = directory.read(&name, MAX_FILE_BYTES).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    let age_s = SystemClock
        .now_unix_s()
        .checked_sub(record.learned_unix_s)?;
    (record.version == VERSION && age_s < MAX_AGE_S).then_some(record.because)
}

/// Leaves a server to git's own transport for a day.
pub(super) fn remember(profile: &Profile, url: &Url, because: &str) {
    let record = Record {
        version: VERSION,
        learned_unix_s: SystemClock.now_unix_s(),
        because: because.to_owned(),
    };
    if let (Some((cache, directory, name)), Ok(text)) =
        (place(profile, url), serde_json::to_vec(&record))
    {
        // Without the file the next command tries again.
        let _ = Directory::make(&cache)
            .and_then(|_| Directory::make(&directory))
            .and_then(|directory| directory.replace_in_passing(&name, &text));
    }
}

/// Names the cache, the directory below it, and the file of a server.
fn place(profile: &Profile, url: &Url) -> Option<(PathBuf, PathBuf, String)> {
    let cache = places(profile, &process_variable).cache?;
    // Windows has no colon in the names of files.
    let name = authority(url).replace([':', '[', ']'], "_");
    let directory = cache.join(DIRECTORY);
    Some((cache, directory, format!("{name}.json")))
}

/// Lets git's own helper ask for an advertisement; tells whether it gets the head of an answer.
pub(super) fn is_answered(git: &mut Process) -> bool {
    git.env("GIT_TRACE_CURL", "1")
        .env("GIT_TRACE_CURL_NO_DATA", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let Ok(mut child) = git.spawn() else {
        return false;
    };
    let is_answered = watch(&mut child);
    // It may have ended by itself.
    let _ = transport::stop(&mut child);
    let _ = child.wait();
    is_answered.unwrap_or(false)
}

fn watch(child: &mut Child) -> Option<bool> {
    let mut input = child.stdin.take()?;
    input.write_all(b"list\n").ok()?;
    drop(input);
    let trace = BufReader::new(child.stderr.take()?.take(MAX_TRACE_BYTES));
    let (tell, told) = mpsc::channel();
    limits::start("trace", move || tell.send(has_head(trace))).ok()?;
    told.recv_timeout(LIMIT).ok()
}

/// Looks in git's trace for the head of the answer to a GET, up to its empty line. A proxy answers a CONNECT before.
fn has_head(trace: impl BufRead) -> bool {
    let mut is_sent = false;
    trace.split(b'\n').map_while(Result::ok).any(|line| {
        let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
        is_sent |= line.contains("=> send header: get ");
        let header = line.split_once("<= recv header:");
        is_sent && header.is_some_and(|(_, header)| header.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_head_of_the_answer_to_a_get_counts() {
        const GET: &str = "=> Send header: GET /x HTTP/1.1\n<= Recv header: HTTP/1.1 401 No\n";
        const END: &str = "<= Recv header:\r\n";
        let connect = format!("=> Send header: CONNECT h:1 HTTP/1.1\n{END}");
        let cases = [
            (String::new(), false),
            (connect.clone(), false),
            (GET.to_owned(), false),
            (format!("{connect}{GET}{END}"), true),
            (
                format!("{GET}<= Recv header: Content-Type: text/html\n{END}"),
                true,
            ),
        ];
        for (trace, expected) in cases {
            assert_eq!(has_head(trace.as_bytes()), expected, "{trace}");
        }
    }
}
