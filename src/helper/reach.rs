//! Tries whether git's own transport reaches a server that the native one does not reach.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    process::{Child, Command as Process, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::{limits, transport};

/// How long git may take to get an answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How much of git's trace is read.
const MAX_TRACE_BYTES: u64 = 4 << 20;

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
