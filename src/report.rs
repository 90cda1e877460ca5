//! Shows error chains as lines: `error:`, `caused by:` and `hint:`. Gives the exit codes. No other module knows hints
//! and exit codes.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use terminal_size::{Height, Width};

use crate::{
    failure::{Failure, Kind, Renewal, kind, one_line, printable, shell_command},
    git_config, limits,
    secret::mask,
    suggestion::similar,
    trace,
    waiting::{self, Display},
    wrapping::wrapped,
};

/// The exit code of git's own helpers after a failure (git: `die`).
pub(crate) const HELPER_FAILED: u8 = 128;

/// The setting for CA certificates of the user's own. Git ignores the file with the usual TLS of Git for Windows.
const CA_SETTING: &str = match cfg!(windows) {
    true => "http.sslBackend to 'openssl' and http.sslCAInfo",
    false => "http.sslCAInfo (or GIT_SSL_CAINFO, which overrides it)",
};

/// Shows an error on stderr, except [`Kind::NoMessage`].
pub(crate) fn show(error: &anyhow::Error) {
    if kind(error) != Some(&Kind::NoMessage) {
        print(&text(error));
    }
}

/// Shows a warning, which needs no action.
pub(crate) fn warn(message: &str) {
    let message = one_line(&mask(message));
    print(&format!("warning: {}\n", for_this_user(&message)));
}

/// Shows a question or a message to the user.
pub(crate) fn say(text: &str) {
    print(text);
}

/// The width of the current line about a wait, or 0.
static WAIT_COLUMNS: Mutex<usize> = Mutex::new(0);
/// The longest such line, in columns.
const MAX_WAIT_COLUMNS: usize = 70;

/// Shows waits that are longer than a second, or than the seconds in `GIT_PROGRESS_DELAY` (git: "optional progress
/// indicators"). A trace on stderr already shows each step.
pub(crate) fn announce_waits() {
    let terminal = std::env::var_os("TERM");
    let can_turn = is_shown_on_a_terminal() && can_move(terminal.as_deref());
    let delay_s = std::env::var("GIT_PROGRESS_DELAY").ok();
    let delay_s = delay_s.and_then(|delay| delay.parse().ok()).unwrap_or(1);
    if !trace::is_on() {
        waiting::announce(Display {
            delay: Duration::from_secs(delay_s),
            show: if can_turn { show_turning } else { show_once },
            clear: || write("", ""),
        });
    }
}

/// Tells whether a terminal of this type can return to the start of a line.
pub(crate) fn can_move(terminal: Option<&OsStr>) -> bool {
    terminal.map_or(cfg!(windows), |terminal| {
        !terminal.is_empty() && terminal != "dumb"
    })
}

fn wait_line(what: &str) -> String {
    format!("Waiting for {} …", one_line(&mask(what)))
}

fn show_once(what: &str, step: usize) {
    if step == 0 {
        print(&format!("{}\n", wait_line(what)));
    }
}

fn show_turning(what: &str, step: usize) {
    let turned = ["|", "/", "-", "\\"][step % 4];
    let line = format!("{turned} {}", wait_line(what));
    let (Width(columns), _) = terminal().unwrap_or((Width(u16::MAX), Height(0)));
    // A longer line would wrap, and its first part would stay.
    let longest = MAX_WAIT_COLUMNS.min(usize::from(columns) - 1);
    write("", &line.chars().take(longest).collect::<String>());
}

/// Removes the line about a wait, and writes a text and the next such line.
fn write(text: &str, wait: &str) {
    let mut columns = WAIT_COLUMNS.lock().unwrap_or_else(PoisonError::into_inner);
    let erased = match *columns {
        0 => String::new(),
        columns => format!("\r{:columns$}\r", ""),
    };
    *columns = wait.chars().count();
    // If stderr is closed, there is no place for an error.
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{erased}{text}{wait}").as_bytes());
}

/// Gives the size of the terminal for the messages, if there is one.
fn terminal() -> Option<(Width, Height)> {
    terminal_size::terminal_size_of(std::io::stderr())
}

/// Tells whether the messages go to a terminal.
pub(crate) fn is_shown_on_a_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

/// Gives the output for a child process's messages to the user.
pub(crate) fn to_person() -> std::process::Stdio {
    std::io::stderr().into()
}

/// Writes an answer for a script to stdout. Gives the exit code.
pub(crate) fn answer(text: &str) -> u8 {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    if let Err(error) = written {
        show(&anyhow::Error::new(error).context("cannot write to standard output"));
        return 1;
    }
    0
}

/// Writes to stderr, with control characters escaped and lines wrapped.
fn print(text: &str) {
    write(&wrapped(&printable(text), terminal()), "");
}

/// Formats an error and its causes, one per line, with the hint.
pub(crate) fn text(error: &anyhow::Error) -> String {
    format!("error: {}", without_label(error))
}

fn without_label(error: &anyhow::Error) -> String {
    let mut text = format!("{}\n", body(error));
    if let Some(hint) = hint(error) {
        text.push_str(&format!("hint: {}\n", one_line(&mask(&hint))));
    }
    for_this_user(&text)
}

/// Replaces `git config --global` by git's variables if there is no home directory, as in some CI jobs.
pub(crate) fn for_this_user(text: &str) -> String {
    match has_configuration() {
        true => text.to_owned(),
        false => with_home(for_job(text)),
    }
}

/// Does this for the commands of one CI job.
pub(crate) fn for_job(text: &str) -> String {
    let count = std::env::var("GIT_CONFIG_COUNT").ok();
    by_variables(
        text,
        count.and_then(|count| count.parse().ok()).unwrap_or(0),
    )
}

/// Adds the needed variables to a hint with a command that writes the user's configuration.
fn with_home(text: String) -> String {
    const COMMANDS: [&str; 3] = ["git bbtoken login", "git bbtoken setup", "git bbtoken use"];
    if !COMMANDS.iter().any(|command| text.contains(command)) {
        return text;
    }
    let body = text.trim_end_matches(['.', '\n']);
    let end = &text[body.len()..];
    format!("{body}; first set HOME, or GIT_CONFIG_GLOBAL to the file to use{end}")
}

/// Tells whether git has a file for `git config --global`, or can create one.
pub(crate) fn has_configuration() -> bool {
    let file = git_config::user_file(&git_config::process_variable);
    file.is_some_and(|file| file.parent().is_some_and(Path::is_dir))
}

/// Replaces `git config --global <key> <value>` by an equivalent export after `count` others (git-config(1),
/// `GIT_CONFIG_COUNT`).
fn by_variables(text: &str, count: u32) -> String {
    const COMMAND: &str = "git config --global ";
    let mut parts = text.split(COMMAND);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(' ') {
            Some((key, rest)) if !key.starts_with("--") => shown.push_str(&format!(
                "export GIT_CONFIG_COUNT={} GIT_CONFIG_KEY_{count}={key} GIT_CONFIG_VALUE_{count}={rest}",
                count + 1
            )),
            _ => shown.extend([COMMAND, part]),
        }
    }
    shown
}

/// Formats an error for git, which shows it after its own `fatal: remote error: `.
pub(crate) fn text_for_git(error: &anyhow::Error) -> String {
    without_label(error).trim_end().to_owned()
}

fn body(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for link in error.chain() {
        let text = mask(&link.to_string());
        let failure = link.downcast_ref::<Failure>();
        // Messages of the command line's parser have several lines.
        let line = match failure.is_some_and(|failure| failure.kind == Kind::Usage) {
            true => printable(&text),
            false => one_line(&text),
        };
        // The message of a wrapper often ends with its cause's message.
        if !lines.last().is_some_and(|last| last.ends_with(&line)) {
            lines.push(line);
        }
    }
    lines.join("\ncaused by: ")
}

/// The exit code of `git bbtoken` for an error: 1 failed, 2 usage, 3 not configured, 4 login needed, 5 refused by
/// Bitbucket, 6 network, 7 store, 126 and 127 for a command that cannot be executed or does not exist.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match kind(error) {
        Some(Kind::Usage | Kind::Unanswered | Kind::BadAddress | Kind::UnknownHost { .. }) => 2,
        Some(
            Kind::NotConfigured
            | Kind::NoProfileForSite { .. }
            | Kind::Misconfigured
            | Kind::UnknownProfile { .. }
            | Kind::WrongSecret { .. },
        ) => 3,
        Some(
            Kind::LoginNeeded { .. } | Kind::SharedLoginNeeded { .. } | Kind::ClientRefused { .. },
        ) => 4,
        Some(
            Kind::AccessRefused { .. }
            | Kind::SiteRefused { .. }
            | Kind::AppPassword
            | Kind::TooLarge
            | Kind::Refused,
        ) => 5,
        Some(
            Kind::Unreachable { .. }
            | Kind::Untrusted { .. }
            | Kind::OnlyHttp2 { .. }
            | Kind::Busy
            | Kind::ServerFailed { .. }
            | Kind::SiteUnavailable { .. }
            | Kind::NotGit,
        ) => 6,
        Some(Kind::StoreUnusable | Kind::SharedStoreUnusable | Kind::StoreExposed { .. }) => 7,
        // As in shells and env(1), this differs from the command's own exit codes.
        Some(Kind::NoProgram) => 127,
        Some(Kind::NotExecutable) => 126,
        Some(Kind::PushUnknown | Kind::PushAgain | Kind::NoMessage) | None => 1,
    }
}

/// Gives the hint, unless it suggests `doctor`.
pub(crate) fn advice(error: &anyhow::Error) -> Option<String> {
    let is_for_doctor = matches!(kind(error), Some(Kind::AccessRefused { .. }));
    let hint = hint(error).filter(|_| !is_for_doctor)?;
    Some(for_this_user(&one_line(&mask(&hint))))
}

fn hint(error: &anyhow::Error) -> Option<String> {
    let kind = kind(error);
    let of_system = match kind {
        // A hint about the limit could lead to another push, which would do more harm.
        Some(Kind::PushUnknown) => None,
        _ => limits::remedy(error),
    };
    of_system
        .map(str::to_owned)
        .or_else(|| hint_of(kind?))
        .or_else(|| limits::remedy_of_place().map(str::to_owned))
}

fn hint_of(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::NotConfigured => format!(
            "{}set BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET to a client's id and secret (Cloud: key and secret of a private OAuth \
             consumer), or BBTOKEN_ACCESS_TOKEN to a token",
            // A login needs a configuration file to write to.
            if has_configuration() { "run 'git bbtoken login' (for a Data Center, add --data-center <url>); or " } else { "" }
        ),
        Kind::NoProfileForSite { site } if !has_configuration() => format!(
            "set BBTOKEN_BASE_URL to {site}, and BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET to a client of that site"
        ),
        Kind::NoProfileForSite { site } => format!(
            "to create one: git config --global bbtoken.<profile>.baseUrl {site} && git bbtoken login <profile>"
        ),
        Kind::UnknownProfile { name, known } if known.is_empty() => {
            let name = name.as_ref().map_or(String::new(), |name| format!(" {name}"));
            format!("no profile is configured; run 'git bbtoken login{name}'")
        }
        Kind::UnknownProfile { name, known } => {
            let similar = name
                .as_deref()
                .and_then(|name| similar(name, known.iter().map(String::as_str)));
            let meant = similar.map(|known| format!("did you mean '{known}'? "));
            let new = name.as_ref().map(|name| {
                format!("; to add this one, run 'git bbtoken login {name}'")
            });
            format!(
                "{}the profiles are: {}{}",
                meant.unwrap_or_default(),
                known.join(", "),
                new.unwrap_or_default()
            )
        }
        Kind::BadAddress => "write it as 'bbtoken::workspace/repository' or, for a Data Center, 'bbtoken::PROJECT/repository'".into(),
        Kind::UnknownHost { base } => format!(
            "if it is a Bitbucket Data Center, run 'git bbtoken login <profile> --data-center {}'; it sets bbtoken.<profile>.kind to datacenter, and bbtoken.<profile>.baseUrl to that address",
            base.as_deref().unwrap_or("https://<host>/<context-path>")
        ),
        Kind::LoginNeeded { profile } => format!("run 'git bbtoken login {profile}'"),
        Kind::SharedLoginNeeded { login } => {
            format!("on a machine that may write the record, run '{login}'")
        }
        Kind::ClientRefused { remedy } => remedy.clone(),
        Kind::AccessRefused { address, renewal } => format!(
            "{} (Bitbucket does not say which); to check, run '{}'",
            match renewal {
                Some(Renewal { remedy, .. }) => format!(
                    "the token is wrong, revoked or expired (then {remedy}), or the name is wrong, or the token has no access to the repository"
                ),
                None => "the name is wrong, or this profile's client or token has no access to the repository".to_owned(),
            },
            shell_command(&["git", "bbtoken", "doctor", address]).unwrap_or_else(|| "git bbtoken doctor".into())
        ),
        Kind::SiteRefused { remedy } | Kind::SiteUnavailable { remedy } => remedy.clone(),
        Kind::AppPassword => "Bitbucket removed app passwords in July 2026; use an OAuth consumer (BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET) \
             or an API token with scopes"
            .into(),
        Kind::WrongSecret { remedy } => (*remedy).to_owned(),
        Kind::Busy => "Bitbucket is busy or asks for fewer requests; try again in a few minutes".into(),
        Kind::ServerFailed { host } => format!("the problem is at '{host}'; try again in a few minutes"),
        Kind::TooLarge => "push in smaller steps, an older commit first: git push <remote> <commit>:refs/heads/<branch>".into(),
        Kind::PushAgain => "push again: the helper has a new token".into(),
        Kind::Unreachable { host } => format!("check the network, the proxy settings and the status of '{host}', then try again"),
        Kind::Untrusted { host, is_of_curl: true } => format!(
            "curl requests tokens from '{host}', because the native transport does not support its TLS or certificate, and curl is stricter than git: \
             ask its administrator for a current version of TLS and a server certificate with keys of 2048 bits or more; \
             if git accepts the server, set BBTOKEN_ACCESS_TOKEN to an access token, which needs no token request"
        ),
        Kind::Untrusted { host, .. } => format!(
            "if a network proxy replaces the certificate of '{host}', set {CA_SETTING} to a file with the proxy's CA certificate; also check this machine's clock"
        ),
        Kind::OnlyHttp2 { host } => format!(
            "enable HTTP/1.1 on '{host}' or on the gateway in front of it; for repositories, git's own transport works, too: \
             git config --global bbtoken.transport git"
        ),
        Kind::NotGit => "a proxy, a sign-on page or a captive portal may have answered instead of Bitbucket: open Bitbucket in a browser to check".into(),
        Kind::PushUnknown => "run 'git fetch' and compare before you push again".into(),
        Kind::StoreUnusable => "fix or unlock the store and try again; to use another store, set bbtoken.<profile>.store (file, keyring, \
             kernel-keyring) and run 'git bbtoken login <profile>' again"
            .into(),
        Kind::SharedStoreUnusable => "run 'git bbtoken doctor': it checks the store and the rights of this machine there".into(),
        Kind::StoreExposed { remedy } => remedy.clone(),
        Kind::Refused
        | Kind::Misconfigured
        | Kind::Usage
        | Kind::Unanswered
        | Kind::NoProgram
        | Kind::NotExecutable
        | Kind::NoMessage => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn an_error_is_shown_with_causes_and_hint() {
        let error = anyhow!("it answered 401")
            .context(Failure::new(Kind::AppPassword, "cannot read 'ws/repo'"));
        let text = text(&error);
        assert!(
            text.starts_with(
                "error: cannot read 'ws/repo'\ncaused by: it answered 401\nhint: Bitbucket removed"
            ),
            "{text}"
        );
        assert_eq!(exit_code(&error), 5);
    }

    #[test]
    fn without_a_home_directory_a_hint_names_variables() {
        assert_eq!(
            by_variables("run 'git config --global a.b c'; then go", 2),
            "run 'export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_2=a.b GIT_CONFIG_VALUE_2=c'; then go"
        );
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        let error = Err::<(), _>(anyhow!("no such file"))
            .context("cannot read: no such file")
            .expect_err("it was made as an error");
        assert_eq!(text(&error), "error: cannot read: no such file\n");
    }
}
