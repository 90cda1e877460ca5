//! Tries whether git's own transport reaches a server that the native one does not reach.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    process::{Child, Command as Process, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::{
    limits,
    transport::{self, Service},
};

/// The time limit for git to get a response.
const LIMIT: Duration = Duration::from_secs(30);
/// How much of git's trace is read.
const MAX_TRACE_BYTES: u64 = 4 << 20;

/// The answer that git must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The head of any response, if the native transport could not connect.
    AnyAnswer,
    /// The head of a git server's response, with or without access. Git treats any other response as a list of files.
    GitAnswer,
}

/// Makes git's own helper request an advertisement. Tells whether it gets the head of a response.
pub(super) fn is_answered(git: &mut Process, service: Service, wanted: Wanted) -> bool {
    git.env("GIT_TRACE_CURL", "1")
        .env("GIT_TRACE_CURL_NO_DATA", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let Ok(mut child) = git.spawn() else {
        return false;
    };
    let is_answered = watch(&mut child, service, wanted);
    // It may have ended by itself.
    let _ = transport::stop(&mut child);
    let _ = child.wait();
    is_answered.unwrap_or(false)
}

fn watch(child: &mut Child, service: Service, wanted: Wanted) -> Option<bool> {
    let mut input = child.stdin.take()?;
    // The command decides which service git asks for (gitremote-helpers(7)).
    let command: &[u8] = match service {
        Service::ReceivePack => b"list for-push\n",
        Service::UploadPack => b"list\n",
    };
    input.write_all(command).ok()?;
    drop(input);
    let trace = BufReader::new(child.stderr.take()?.take(MAX_TRACE_BYTES));
    let (tell, told) = mpsc::channel();
    limits::start("trace", move || tell.send(has_head(trace, wanted))).ok()?;
    told.recv_timeout(LIMIT).ok()
}

/// Finds the head of the final response to a GET in git's trace, up to its empty line. Before it come a proxy's
/// response to CONNECT and informational responses (RFC 9110 section 15.2).
fn has_head(trace: impl BufRead, wanted: Wanted) -> bool {
    let (mut is_sent, mut is_final, mut is_gits) = (false, false, false);
    trace.split(b'\n').map_while(Result::ok).any(|line| {
        let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
        is_sent |= line.contains("=> send header: get ");
        let Some((_, header)) = line.split_once("<= recv header:") else {
            return false;
        };
        let header = header.trim();
        if header.starts_with("http/") {
            let status = header.split_whitespace().nth(1).unwrap_or_default();
            (is_final, is_gits) = (!status.starts_with('1'), status == "401");
        }
        is_gits |= header.starts_with("content-type: application/x-git-");
        header.is_empty() && is_sent && is_final && (is_gits || wanted == Wanted::AnyAnswer)
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
                format!("{GET}<= Recv header: HTTP/1.1 103 Early Hints\n{END}"),
                false,
            ),
            (
                format!("{GET}<= Recv header: Content-Type: text/html\n{END}"),
                true,
            ),
        ];
        for (trace, expected) in cases {
            let found = has_head(trace.as_bytes(), Wanted::AnyAnswer);
            assert_eq!(found, expected, "{trace}");
        }
    }

    #[test]
    fn a_git_server_is_known_by_its_type_or_by_asking_for_a_credential() {
        let cases = [
            ("HTTP/1.1 401 No", true),
            (
                "HTTP/1.1 200 OK\n<= Recv header: Content-Type: application/x-git-upload-pack-advertisement",
                true,
            ),
            (
                "HTTP/1.1 200 OK\n<= Recv header: Content-Type: text/html",
                false,
            ),
            (
                "HTTP/1.1 401 No\n<= Recv header: \n<= Recv header: HTTP/1.1 403 No",
                true,
            ),
        ];
        for (head, expected) in cases {
            let trace = format!(
                "=> Send header: GET /x HTTP/1.1\n<= Recv header: {head}\n<= Recv header:\r\n"
            );
            let found = has_head(trace.as_bytes(), Wanted::GitAnswer);
            assert_eq!(found, expected, "{trace}");
        }
    }
}
