//! The command `bitbucket-local`: a Bitbucket on loopback until its input closes.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use anyhow::{Context as _, Result, bail};
use bitbucket_local::{Bitbucket, Edition, Options};
use serde_json::json;

const HELP: &str = "\
Serve a Bitbucket on loopback until standard input closes or SIGTERM comes

Usage: bitbucket-local [options]

  --data-center PATH
                  play Bitbucket Data Center below PATH, such as /bitbucket, or '' for none
                  (default: play Bitbucket Cloud)
  --root DIR      keep repositories in DIR (default: a temporary directory)
  --port N        listen on port N (default: one that is free)
  --http          serve plain HTTP instead of HTTPS
  --http1         do not offer HTTP/2
  --ipv6          listen on ::1 as well
  --git PATH      serve with this git's http-backend (default: git)
  --v0            behave as a server that knows only git protocol version 0
  --repository WORKSPACE/NAME
                  make an empty repository; may be given several times
  --summary       print what was asked of the server when it ends
  --ignore-stdin  run until SIGTERM or SIGINT only
  --print-json    print one JSON object instead of name=value lines
  --help          print this
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if this cannot be said.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(command_line) = CommandLine::parse(std::env::args_os().skip(1).map(PathBuf::from))?
    else {
        return std::io::stdout()
            .write_all(HELP.as_bytes())
            .context("cannot print the help");
    };
    let (end, ended) = mpsc::channel();
    end_on_signal(end.clone())?;
    let bitbucket = Bitbucket::start(command_line.options)?;
    for (workspace, name) in &command_line.repositories {
        bitbucket.create_repository(workspace, name)?;
    }
    announce(&bitbucket, command_line.print_json)
        .context("cannot print how to reach the server")?;
    if !command_line.ignore_stdin {
        end_with_stdin(end);
    }
    ended
        .recv()
        .context("nothing is left that could end the server")?;
    if command_line.summary {
        summarize(&bitbucket).context("cannot print the summary")?;
    }
    Ok(())
}

struct CommandLine {
    options: Options,
    repositories: Vec<(String, String)>,
    summary: bool,
    ignore_stdin: bool,
    print_json: bool,
}

impl CommandLine {
    /// `None` asks for help.
    fn parse(mut words: impl Iterator<Item = PathBuf>) -> Result<Option<Self>> {
        let mut parsed = Self {
            options: Options::default(),
            repositories: Vec::new(),
            summary: false,
            ignore_stdin: false,
            print_json: false,
        };
        while let Some(word) = words.next() {
            let word = word.to_string_lossy().into_owned();
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("'{word}' needs a value"))
            };
            match word.as_str() {
                "--data-center" => {
                    let context_path = value()?.to_string_lossy().into_owned();
                    parsed.options.edition = Edition::DataCenter { context_path };
                }
                "--root" => parsed.options.root = Some(value()?),
                "--port" => {
                    let port = value()?;
                    let port = port.to_string_lossy();
                    parsed.options.port = Some(
                        port.parse()
                            .with_context(|| format!("'{port}' is no port"))?,
                    );
                }
                "--repository" => {
                    let path = value()?;
                    let path = path.to_string_lossy();
                    let (workspace, name) = path
                        .split_once('/')
                        .with_context(|| format!("'{path}' is not WORKSPACE/NAME"))?;
                    let repository = (workspace.to_owned(), name.to_owned());
                    parsed.repositories.push(repository);
                }
                "--summary" => parsed.summary = true,
                "--git" => parsed.options.git = Some(value()?),
                "--http" => parsed.options.tls = false,
                "--http1" => parsed.options.http2 = false,
                "--ipv6" => parsed.options.ipv6 = true,
                "--v0" => parsed.options.protocol_v2 = false,
                "--ignore-stdin" => parsed.ignore_stdin = true,
                "--print-json" => parsed.print_json = true,
                "--help" => return Ok(None),
                _ => bail!("there is no option '{word}'; see --help"),
            }
        }
        Ok(Some(parsed))
    }
}

/// Prints how to reach the server; the secrets are made up and good only here.
fn announce(bitbucket: &Bitbucket, as_json: bool) -> std::io::Result<()> {
    let consumer = bitbucket.consumer();
    let ca_file = bitbucket.ca_file().to_string_lossy();
    let lines = [
        ("base_url", bitbucket.base_url()),
        ("ca_file", &ca_file),
        ("client_id", &consumer.key),
        ("client_secret", &consumer.secret),
        ("control_key", bitbucket.control_key()),
    ];
    let mut stdout = std::io::stdout().lock();
    if as_json {
        let object: serde_json::Map<_, _> = lines
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        writeln!(stdout, "{}", json!(object))?;
    } else {
        for (name, value) in lines {
            writeln!(stdout, "{name}={value}")?;
        }
    }
    stdout.flush()
}

/// Prints every request, a line each, and their number by kind.
fn summarize(bitbucket: &Bitbucket) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for request in bitbucket.requests() {
        let status = request.status.unwrap_or(0);
        let query = request
            .query
            .map_or(String::new(), |query| format!("?{query}"));
        writeln!(
            stdout,
            "connection {:<3} {status} {:4} {}{query}",
            request.connection, request.method, request.path
        )?;
    }
    writeln!(
        stdout,
        "in all: {} git requests, {} token calls, {} connections",
        bitbucket.git_requests().len(),
        bitbucket.token_requests().len(),
        bitbucket.connections()
    )
}

fn end_with_stdin(end: mpsc::Sender<()>) {
    std::thread::spawn(move || {
        let mut ignored = [0; 1024];
        while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
        // The server may have ended already.
        let _ = end.send(());
    });
}

fn end_on_signal(end: mpsc::Sender<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot wait for signals")?;
    let signals = {
        let _inside = runtime.enter();
        Signals::install().context("cannot wait for signals")?
    };
    std::thread::spawn(move || {
        runtime.block_on(signals.first());
        // The server may have ended already.
        let _ = end.send(());
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn first(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn install() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn first(mut self) {
        self.0.recv().await;
    }
}
