//! `git bbtoken token` and `git bbtoken exec`: give a fresh token to scripts.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitStatus,
};

use anyhow::Context as _;
use serde_json::json;

use super::{Console, VERSION, arguments, signals::Signals};
#[cfg(unix)]
use crate::files;
use crate::{
    app::{App, Identity},
    dumps,
    failure::{Failure, Kind, usage},
    limits,
    program::Child,
    token::Bearer,
};

/// The variable that `exec` sets for its command only.
const VARIABLE: &str = "BBTOKEN_ACCESS_TOKEN";

pub(super) fn print(options: &arguments::Token, console: &mut Console<'_>) -> anyhow::Result<()> {
    if console.is_output_a_terminal && !options.force {
        return Err(usage(
            "the token is not printed on a terminal, where others could read it; redirect it to a file or command, or give --force",
        ));
    }
    let app = App::read()?;
    let identity = app.used(options.profile.name.as_deref())?;
    let bearer = identity.bearer()?;
    if !options.json {
        return console.print(&format!("{}\n", bearer.token.expose()));
    }
    let mut fields = json!({
        "version": VERSION,
        "profile": identity.profile.name,
        "user": app.user(&identity, &bearer)?,
        "token": bearer.token.expose(),
    });
    if let Some(expires_at_unix_s) = bearer.expires_at_unix_s {
        fields["expires_at"] = json!(expires_at_unix_s);
    }
    console.print(&format!("{fields:#}\n"))
}

/// Runs the command; gives its exit code.
pub(super) fn exec(options: &arguments::Exec) -> anyhow::Result<u8> {
    let app = App::read()?;
    let identity = app.used(options.profile.name.as_deref())?;
    let bearer = identity.bearer()?;
    let (program, arguments) = options
        .command
        .split_first()
        .context("no command was given")?;
    let cannot_start = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NoProgram,
            _ => Kind::NotExecutable,
        };
        let message = format!("cannot start '{}'", program.display());
        anyhow::Error::from(error).context(Failure::new(kind, message))
    };
    let mut command = Child::Exec.command(program).map_err(cannot_start)?;
    command.args(arguments);
    // Block the signals before the file exists, so that `exec` removes it after every signal but SIGKILL. After SIGKILL,
    // the next `exec` replaces the file.
    let signals = Signals::hold()?;
    let _netrc = match &options.netrc {
        None => {
            command.env(VARIABLE, bearer.token.expose());
            None
        }
        Some(path) => {
            let user = app.user(&identity, &bearer)?;
            Some(Netrc::write(path, &identity, &bearer, &user)?)
        }
    };
    let child = dumps::spawn_with_own_limit(&mut command).map_err(limits::of_start);
    let mut child = child.map_err(cannot_start)?;
    if let Err(error) = signals.pass_to(&child) {
        child.kill()?;
        child.wait()?;
        return Err(cannot_start(error));
    }
    let status = child.wait().context("cannot wait for the command")?;
    Ok(code(status))
}

/// Marks a file that `exec` wrote, in netrc's own syntax. HTTP programs ignore it.
const MARK: &str = "account git-bbtoken-exec";

/// A netrc-like file that is removed when it is dropped, and locked until then.
struct Netrc {
    path: PathBuf,
    file: File,
}

impl Netrc {
    fn write(
        path: &Path,
        identity: &Identity,
        bearer: &Bearer,
        user: &str,
    ) -> anyhow::Result<Self> {
        let host = identity.profile.endpoints.base.host_str().unwrap_or("");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let refuse = || format!("cannot create the new file '{}'", path.display());
        let file = match options.open(path) {
            Ok(file) => locked(file, path),
            Err(error) => left_behind(path).ok_or(error),
        };
        let mut netrc = Netrc {
            path: path.to_owned(),
            file: file.with_context(refuse)?,
        };
        let token = bearer.token.expose();
        writeln!(
            netrc.file,
            "machine {host} login {user} password {token} {MARK}"
        )
        .with_context(refuse)?;
        Ok(netrc)
    }
}

/// Locks a file for a secret, if only the user can read it.
#[cfg(unix)]
fn locked(file: File, path: &Path) -> io::Result<File> {
    files::check_own_file(&file, path)?;
    file.try_lock()?;
    Ok(file)
}

/// On other systems, a lock would keep the command from reading the file.
#[cfg(not(unix))]
fn locked(file: File, _path: &Path) -> io::Result<File> {
    Ok(file)
}

/// Takes over and empties the file of a killed process; `None` if `exec` did not write the file, or still uses it.
#[cfg(unix)]
fn left_behind(path: &Path) -> Option<File> {
    use std::io::Seek as _;
    let file = files::open_without_waiting(path).ok()?;
    let mut file = locked(file, path).ok()?;
    let text = io::read_to_string(&file).ok()?;
    if !text.trim_end().ends_with(MARK) {
        return None;
    }
    file.set_len(0).and_then(|()| file.rewind()).ok()?;
    Some(file)
}

/// On other systems, it is unknown whether the file is still in use.
#[cfg(not(unix))]
fn left_behind(_path: &Path) -> Option<File> {
    None
}

impl Drop for Netrc {
    fn drop(&mut self) {
        // The command may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}

/// The command's exit code. If a signal ended the command, 128 plus its number, as in a shell.
fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(1);
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(1)
}
