//! Git's pipe: commands as lines, and after `connect` the protocol as bytes, through one buffer.

use std::io::{self, BufRead, BufReader, Read, Write};

use anyhow::Context as _;

use super::pktline;
use crate::{
    failure::{Failure, Kind, is_closed_pipe, quote},
    http::Family,
};

/// The helper's capabilities (gitremote-helpers(7), "Capabilities"). Git uses those after `connect` only if the helper
/// answers `connect` with `fallback`.
const CAPABILITIES: &str = "connect\nfetch\npush\noption\ncheck-connectivity\nobject-format\n\n";
/// The answer to `connect` for a service that this helper does not serve (gitremote-helpers(7), "COMMANDS").
pub(super) const FALLBACK: &[u8] = b"fallback\n";
/// The size of a pipe, so that reading a pack needs few system calls.
const BUFFER_BYTES: usize = 64 * 1024;

/// The input and output of git's pipe. Nothing else uses them.
pub(crate) struct Git {
    input: Box<dyn BufRead + Send>,
    output: Box<dyn Write + Send>,
    options: Vec<String>,
}

/// The service of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `git-upload-pack`: fetch, clone, ls-remote.
    UploadPack,
    /// `git-receive-pack`: push.
    ReceivePack,
}

impl Service {
    /// Finds the service with a name in the protocol.
    fn named(name: &str) -> Option<Self> {
        let mut all = [Service::UploadPack, Service::ReceivePack].into_iter();
        all.find(|service| service.name() == name)
    }

    /// Gives the name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
        }
    }
}

impl Git {
    /// Takes over the pipe.
    pub(crate) fn new(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Self {
        Git {
            input: Box::new(BufReader::with_capacity(BUFFER_BYTES, input)),
            output: Box::new(output),
            options: Vec::new(),
        }
    }

    /// Answers `capabilities` and `option` until git requests a connection; `None` if it ends the session.
    ///
    /// # Errors
    ///
    /// If git sends a command that was not announced, or the pipe breaks.
    pub(crate) fn next_command(&mut self) -> anyhow::Result<Option<Service>> {
        loop {
            let line = self.read_line()?;
            if let Some(service) = line.strip_prefix("connect ").and_then(Service::named) {
                return Ok(Some(service));
            }
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                [""] => return Ok(None),
                ["capabilities"] => self.write(CAPABILITIES.as_bytes())?,
                // Bitbucket serves `git-upload-archive` over ssh only. Git then ends with an error of its own.
                ["connect", _] => self.write(FALLBACK)?,
                ["option", name, ..] => {
                    let answer: &[u8] = match OPTIONS.contains(name) {
                        true => b"ok\n",
                        false => b"unsupported\n",
                    };
                    self.write(answer)?;
                    self.options.push(line);
                }
                _ => {
                    let line = quote(&line);
                    let message =
                        format!("git sent '{line}', which is not a command of this helper");
                    return Err(Failure::new(Kind::Usage, message).into());
                }
            }
        }
    }

    /// Gives git's verbosity; the default is 1.
    pub(crate) fn verbosity(&self) -> u32 {
        self.option("verbosity")
            .and_then(|value| value.parse().ok())
            .unwrap_or(1)
    }

    /// Gives the address family that git allows (git-fetch(1), `--ipv4`, `--ipv6`).
    pub(crate) fn family(&self) -> Option<Family> {
        match self.option("family")? {
            "ipv4" => Some(Family::Ipv4),
            "ipv6" => Some(Family::Ipv6),
            _ => None,
        }
    }

    /// Gives the last value of an option.
    fn option(&self, name: &str) -> Option<&str> {
        let mut said = self.options.iter().rev();
        said.find_map(|line| {
            let (found, value) = line.strip_prefix("option ")?.split_once(' ')?;
            (found == name).then_some(value)
        })
    }

    /// Gives the `option` lines so far, for git's own helper.
    pub(super) fn options(&self) -> &[String] {
        &self.options
    }

    /// Reads a line without its line end; nothing at the end of the input.
    fn read_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = self.input.read_line(&mut line);
        read.context("cannot read git's command")?;
        line.truncate(line.trim_end_matches('\n').len());
        Ok(line)
    }

    /// Gives the protocol bytes from git.
    pub(super) fn input(&mut self) -> &mut (dyn BufRead + Send) {
        self.input.as_mut()
    }

    /// Gives away the input, so that the sender of a pack can read it to its end.
    pub(super) fn take_input(&mut self) -> Box<dyn BufRead + Send> {
        std::mem::replace(&mut self.input, Box::new(io::empty()))
    }

    /// Gives away the output, to the code that serves git from then on.
    pub(super) fn take_output(&mut self) -> Box<dyn Write + Send> {
        std::mem::replace(&mut self.output, Box::new(io::sink()))
    }

    /// Writes bytes to git and flushes them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self
            .output
            .write_all(bytes)
            .and_then(|()| self.output.flush());
        written.map_err(|error| match is_closed_pipe(&error) {
            true => anyhow::Error::new(error)
                .context(Failure::new(Kind::NoMessage, "git closed the pipe")),
            false => anyhow::Error::new(error).context("cannot write to git"),
        })
    }

    /// Sends git an error instead of a response. Git shows the text as its own.
    ///
    /// # Errors
    ///
    /// If the pipe breaks.
    pub(crate) fn write_error(&mut self, text: &str) -> anyhow::Result<()> {
        self.write(&pktline::encode(&format!("ERR {}", text.trim_end())))
    }

    /// Sends git a push report without any ref. Git then reports each ref as failed and exits with 1, as over https.
    /// Without a report, git would exit with 128.
    ///
    /// # Errors
    ///
    /// If the pipe breaks.
    pub(crate) fn write_empty_report(&mut self, by_side_band: bool) -> anyhow::Result<()> {
        let report = [pktline::encode("unpack ok\n").as_slice(), b"0000"].concat();
        match by_side_band {
            false => self.write(&report),
            true => {
                let band = ["\u{1}", &String::from_utf8_lossy(&report)].concat();
                self.write(&[pktline::encode(&band).as_slice(), b"0000"].concat())
            }
        }
    }
}

/// The options that git's own helper supports. This helper accepts them for it; after `connect`, git follows its own
/// copy.
const OPTIONS: [&str; 21] = [
    "verbosity",
    "progress",
    "depth",
    "deepen-since",
    "deepen-not",
    "deepen-relative",
    "followtags",
    "dry-run",
    "check-connectivity",
    "cas",
    "force-if-includes",
    "cloning",
    "update-shallow",
    "atomic",
    "push-option",
    "pushcert",
    "family",
    "from-promisor",
    "refetch",
    "filter",
    "object-format",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("no test panics while writing")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn capabilities_and_options_are_answered_until_git_requests_a_connection() {
        let output = Kept::default();
        let input: &[u8] = b"capabilities\noption progress true\noption no-such thing\nconnect git-upload-pack\n0000";
        let mut git = Git::new(input, output.clone());
        assert_eq!(
            git.next_command().expect("it is one"),
            Some(Service::UploadPack)
        );
        let written = output
            .0
            .lock()
            .expect("no test panics while writing")
            .clone();
        assert_eq!(
            String::from_utf8_lossy(&written),
            format!("{CAPABILITIES}ok\nunsupported\n")
        );
        let mut rest = Vec::new();
        git.take_input()
            .read_to_end(&mut rest)
            .expect("a slice reads");
        assert_eq!(
            rest, b"0000",
            "what follows connect belongs to the protocol"
        );
    }

    #[test]
    fn an_unknown_command_is_an_error_and_the_end_of_input_is_not() {
        let mut git = Git::new(&b"list\x1b\n"[..], io::sink());
        let message = git
            .next_command()
            .expect_err("it was not announced")
            .to_string();
        assert!(message.contains("list\\u{1b}"), "{message}");
        assert_eq!(
            Git::new(&b""[..], io::sink())
                .next_command()
                .expect("it is an end"),
            None
        );
        assert_eq!(
            Git::new(&b"\n"[..], io::sink())
                .next_command()
                .expect("it is an end"),
            None
        );
    }

    #[test]
    fn any_input_on_git_s_pipe_is_answered_or_refused() {
        let kept: [&[u8]; 5] = [
            b"capabilities\noption verbosity 1\noption progress true\nconnect git-upload-pack\n0000",
            b"option verbosity 99999999999\noption\n\n",
            b"option filter x\noption  \nconnect git-receive-pack\n",
            b"list for-push\n",
            b"connect git-upload-archive\n\xff\n",
        ];
        crate::inside::fuzz::check(&kept, |input| {
            let mut git = Git::new(std::io::Cursor::new(input.to_vec()), io::sink());
            match git.next_command() {
                Ok(_) => {
                    let _: u32 = git.verbosity();
                    let held: usize = git.options().iter().map(String::len).sum();
                    assert!(held <= input.len());
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    crate::inside::fuzz::expect_printable(&text);
                    assert!(text.len() < 3_000, "{text}");
                }
            }
        });
    }
}
