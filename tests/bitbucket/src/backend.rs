//! `git http-backend` run as a CGI program (RFC 3875), streamed both ways.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::io::poll_read_buf;

use crate::page::Answer;
use crate::reply::{Payload, Upload};

/// What is read from the program at once; the capacity of a pipe on Linux.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// The longest header block that a CGI program may print.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// The program, and the directory of repositories it serves.
pub(crate) struct Backend {
    program: PathBuf,
    repositories: PathBuf,
    home: PathBuf,
}

/// One call of the program: the meta-variables that differ between calls (RFC 3875 section 4.1).
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) user: String,
    /// `Git-Protocol`, unless the server behaves as one that knows only version 0.
    pub(crate) git_protocol: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    /// Left out for chunked bodies: the program then reads to the end of its input.
    pub(crate) content_length: Option<u64>,
}

impl Backend {
    pub(crate) fn new(git: &Path, repositories: PathBuf, home: PathBuf) -> Result<Self> {
        Ok(Self {
            program: program_of(git, &home)?,
            repositories,
            home,
        })
    }

    /// Runs the program; the answer begins when it has printed its header.
    pub(crate) async fn answer(&self, call: Call, upload: Upload) -> Result<Answer> {
        let has_body = call.method == "POST";
        let mut child = self
            .command(&call, has_body)
            .spawn()
            .context("cannot run git http-backend")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("because its output is piped");
        let process = Arc::new(Process {
            child: Mutex::new(Some(child)),
        });
        if let Some(stdin) = stdin {
            tokio::spawn(feed(upload, stdin, Arc::clone(&process)));
        }
        let mut output = Output {
            stdout,
            buffer: BytesMut::new(),
            process,
        };
        let (status, headers) = output.header().await?;
        let mut answer = Response::new(Payload::Git(output));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    fn command(&self, call: &Call, has_body: bool) -> Command {
        let mut command = clean(&self.program, &self.home);
        command
            .env("GIT_PROJECT_ROOT", &self.repositories)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GATEWAY_INTERFACE", "CGI/1.1")
            .env("REQUEST_METHOD", &call.method)
            .env("PATH_INFO", &call.path)
            .env("QUERY_STRING", &call.query)
            .env("REMOTE_USER", &call.user)
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(if has_body {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let optional = [
            ("GIT_PROTOCOL", call.git_protocol.clone()),
            ("CONTENT_TYPE", call.content_type.clone()),
            ("HTTP_CONTENT_ENCODING", call.content_encoding.clone()),
            (
                "CONTENT_LENGTH",
                call.content_length.map(|bytes| bytes.to_string()),
            ),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        // A group of its own, so that killing it reaches the service it started.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }
}

/// Finds `git-http-backend`, once for each git.
fn program_of(git: &Path, home: &Path) -> Result<PathBuf> {
    static FOUND: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().expect("because no thread panics here");
    if let Some(program) = found.get(git) {
        return Ok(program.clone());
    }
    // Run from git's exec path, the program is spared a process that only waits for it.
    let shown = clean(git, home).arg("--exec-path").output();
    let shown = shown.with_context(|| format!("cannot run '{}'", git.display()))?;
    if !shown.status.success() {
        bail!("'{} --exec-path' failed", git.display());
    }
    let exec_path = String::from_utf8(shown.stdout).context("git's exec path is not text")?;
    let program = Path::new(exec_path.trim_end())
        .join(format!("git-http-backend{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        bail!("cannot find '{}'", program.display());
    }
    found.insert(git.to_owned(), program.clone());
    Ok(program)
}

/// A command with nothing of this process's environment but the search path.
pub(crate) fn clean(program: &Path, home: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.env_clear();
    for name in ["PATH", "SYSTEMROOT"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C");
    command
}

/// Hands the request body to the program.
async fn feed(mut upload: Upload, mut stdin: ChildStdin, process: Arc<Process>) {
    while let Some(piece) = upload.piece().await {
        let Ok(piece) = piece else {
            // An upload without a length would look complete to the program.
            process.kill();
            return;
        };
        if stdin.write_all(&piece).await.is_err() {
            // The program has answered already; the rest is read so that the connection can be used again.
            upload.discard(u64::MAX).await;
            return;
        }
    }
}

/// What the program prints.
pub(crate) struct Output {
    stdout: ChildStdout,
    buffer: BytesMut,
    process: Arc<Process>,
}

impl Output {
    /// Reads the header block, up to and with its empty line.
    async fn header(&mut self) -> Result<(StatusCode, HeaderMap)> {
        loop {
            if let Some(end) = header_end(&self.buffer) {
                let block = self.buffer.split_to(end);
                return parse_header(&String::from_utf8_lossy(&block));
            }
            if self.buffer.len() > MAX_HEADER_BYTES {
                bail!("git http-backend printed a header that does not end");
            }
            let read = self
                .stdout
                .read_buf(&mut self.buffer)
                .await
                .context("cannot read from git http-backend")?;
            if read == 0 {
                bail!("git http-backend ended without an answer");
            }
        }
    }

    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.buffer.is_empty() {
            self.buffer.reserve(PIECE_BYTES);
            if ready!(poll_read_buf(
                std::pin::Pin::new(&mut self.stdout),
                cx,
                &mut self.buffer
            ))? == 0
            {
                self.process.reap();
                return Poll::Ready(None);
            }
        }
        Poll::Ready(Some(Ok(self.buffer.split().freeze())))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// The running program.
struct Process {
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Lets the program, which has closed its output, end on its own.
    fn reap(&self) {
        if let Some(mut child) = self.take() {
            tokio::spawn(async move { child.wait().await });
        }
    }

    /// Kills the program and what it started, unless it has been let go.
    fn kill(&self) {
        let Some(mut child) = self.take() else { return };
        #[cfg(unix)]
        if let Some(group) = child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?))
        {
            // It may have just ended, which is as good.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = child.start_kill();
    }

    fn take(&self) -> Option<Child> {
        self.child
            .lock()
            .expect("because no thread panics while it holds the child")
            .take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn header_end(printed: &[u8]) -> Option<usize> {
    let crlf = printed
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|start| start + 4);
    let lf = printed
        .windows(2)
        .position(|two| two == b"\n\n")
        .map(|start| start + 2);
    crlf.into_iter().chain(lf).min()
}

/// Parses a CGI header block; `Status` gives the status (RFC 3875 section 6.3.3), 200 when there is none.
fn parse_header(block: &str) -> Result<(StatusCode, HeaderMap)> {
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(':')
            .context("git http-backend printed a line that is no header")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or(value);
            status = code
                .parse()
                .context("git http-backend printed a status that is none")?;
        } else {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    Ok((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgi_header_block_ends_at_its_empty_line_and_gives_the_status() {
        let printed = b"Status: 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nrest";
        let end = header_end(printed).expect("because the block has an empty line");
        let (status, headers) = parse_header(&String::from_utf8_lossy(&printed[..end]))
            .expect("because it is well-formed");
        assert_eq!(
            &printed[end..],
            b"rest",
            "the body begins after the empty line"
        );
        assert_eq!(
            status,
            StatusCode::FORBIDDEN,
            "the status is the one printed"
        );
        assert_eq!(headers.len(), 1, "the status is not a header of the answer");
        assert_eq!(
            header_end(b"Expires: never\r\n"),
            None,
            "a block without an empty line has not ended"
        );
    }
}
