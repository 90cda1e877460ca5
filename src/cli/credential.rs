//! `git bbtoken credential`: git's credential protocol (git-credential(1)), for the configured Bitbucket only.
//!
//! The answer has user name and password instead of `authtype`, because git 2.46 to 2.53 sends a push over 1 MiB
//! without an `authtype` credential. With the capability `state` (git 2.46), the first answer claims to be one of
//! several stages (`continue`). So git asks again if the server refuses the token, and sends back the state that
//! identifies it. `ephemeral` asks the other helpers of the chain not to store the token. Git passes it on with the
//! capability `authtype` (git 2.46).

use std::io::{BufRead, Read as _, Write};

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::{
    app::{self, App, Identity},
    failure::{Kind, kind},
    lfs::profile_of,
    report,
    secret::Secret,
    token::Bearer,
};

/// More than any request of git's.
const MAX_REQUEST_BYTES: u64 = 1024 * 1024;
/// The prefix of this helper's states. It ignores those of other helpers (git-credential(1), `state[]`).
const STATE: &str = "bbtoken:given=";

pub(super) fn run(
    profile: Option<&str>,
    action: &str,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> anyhow::Result<()> {
    if action == "capability" {
        return Ok(output.write_all(b"version 0\ncapability authtype\ncapability state\n")?);
    }
    // The token is cached already, so 'store' does nothing. Unknown actions are ignored, as git requires.
    if !["get", "erase"].contains(&action) {
        return Ok(());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    input
        .take(MAX_REQUEST_BYTES)
        .read_to_end(&mut bytes)
        .context("cannot read the credential request")?;
    // Another host's path or password may be in any encoding.
    let request = Request::parse(&Secret::new(String::from_utf8_lossy(&bytes).into_owned()));
    match action {
        "get" => get(profile, &request, output),
        _ => erase(profile, &request),
    }
}

fn get(profile: Option<&str>, request: &Request, output: &mut dyn Write) -> anyhow::Result<()> {
    let found = App::read().and_then(|app| Ok((identity(&app, profile, request)?, app)));
    let (identity, app) = match found {
        Ok((Some(identity), app)) => (identity, app),
        Ok((None, _)) => return Ok(()),
        // If nothing is configured, another helper may have a credential.
        Err(error)
            if matches!(
                kind(&error),
                Some(Kind::NotConfigured | Kind::NoProfileForSite { .. })
            ) =>
        {
            return Ok(());
        }
        // An error in this configuration must not affect another host.
        Err(_) if !app::may_be_ours(&request.host) => return Ok(()),
        Err(error) => return quit(output, error),
    };
    let bearer = bearer(&identity, request);
    let found = bearer.and_then(|it| Ok((app.user(&identity, &it)?, it)));
    match found {
        Ok((user, bearer)) => {
            let answer = answer(request, &identity, &bearer, &user);
            Ok(output.write_all(answer.expose().as_bytes())?)
        }
        Err(error) => quit(output, error),
    }
}

/// Gets a token: another one if git says that the server refused the last.
fn bearer(identity: &Identity, request: &Request) -> anyhow::Result<Bearer> {
    let Some(given) = &request.given else {
        return identity.bearer();
    };
    let other = identity.bearer_instead(&given.fingerprint)?;
    other.ok_or_else(|| {
        identity.save_refusal(&given.fingerprint);
        app::refused(&identity.profile)
    })
}

fn answer(request: &Request, identity: &Identity, bearer: &Bearer, user: &str) -> Secret {
    let mut answer = String::new();
    if request.knows_ephemeral {
        answer.push_str("capability[]=authtype\nephemeral=1\n");
    }
    if request.knows_state && request.given.is_none() {
        let given = Given {
            fingerprint: bearer.token.fingerprint(),
            profile: request.asked_profile(identity),
        };
        answer.push_str(&format!(
            "capability[]=state\nstate[]={STATE}{given}\ncontinue=1\n"
        ));
    }
    if let Some(expiry) = bearer.expires_at_unix_s {
        answer.push_str(&format!("password_expiry_utc={expiry}\n"));
    }
    let token = bearer.token.expose();
    Secret::new(format!("{answer}username={user}\npassword={token}\n"))
}

/// Makes git stop, because Bitbucket accepts no password from the user or another helper.
fn quit(output: &mut dyn Write, error: anyhow::Error) -> anyhow::Result<()> {
    output.write_all(b"quit=1\n")?;
    Err(error)
}

fn erase(profile: Option<&str>, request: &Request) -> anyhow::Result<()> {
    let Some(token) = &request.password else {
        return Ok(());
    };
    // The answer's user name belongs to the token. It replaces a user name in the request that selected the profile.
    let Ok(app) = App::read() else { return Ok(()) };
    let first = identity(&app, profile, request).ok().flatten();
    if let Some(identity) = &first {
        identity.save_refusal(&token.fingerprint());
    }
    let others = app.all_for_site(&request.protocol, &request.host);
    for identity in first.into_iter().chain(others) {
        if !identity.tokens_without_request().forget(token) {
            continue;
        }
        // git-lfs asks again by itself.
        if !request.path.ends_with("/info/lfs") {
            report::warn(&format!(
                "Bitbucket refused the token of profile '{}', and the helper removed it from the cache: run the command again to get a new one",
                identity.profile
            ));
        }
        break;
    }
    Ok(())
}

/// Resolves the profile for a request; `None` if the request is not about Bitbucket, so that git asks the next helper.
fn identity(
    app: &App,
    profile: Option<&str>,
    request: &Request,
) -> anyhow::Result<Option<Identity>> {
    let given = request
        .given
        .as_ref()
        .and_then(|given| given.profile.as_deref());
    let user = given.unwrap_or(&request.user);
    let profile = profile.or_else(|| profile_of(user));
    app.for_url(
        &request.protocol,
        &request.host,
        &request.path,
        profile,
        user,
    )
}

/// Git's request.
#[derive(Default)]
struct Request {
    protocol: String,
    host: String,
    path: String,
    user: String,
    password: Option<Secret>,
    /// Git sends states back (`capability[]=state`).
    knows_state: bool,
    /// Git passes `ephemeral` on to the other helpers (`capability[]=authtype`).
    knows_ephemeral: bool,
    /// The earlier token, which the server refused.
    given: Option<Given>,
}

/// The state that git sends back with its next request.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    fingerprint: String,
    /// The profile that the URL's user name selected. The answer replaces this user name by the token's.
    profile: Option<String>,
}

impl Given {
    fn parse(text: &str) -> Self {
        let (fingerprint, profile) = text.split_once('@').unzip();
        Given {
            fingerprint: fingerprint.unwrap_or(text).to_owned(),
            profile: profile.map(str::to_owned),
        }
    }
}

impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fingerprint)?;
        match &self.profile {
            Some(profile) => write!(f, "@{profile}"),
            None => Ok(()),
        }
    }
}

impl Request {
    /// Reads `key=value` lines up to an empty line. Ignores unknown keys, as the protocol requires.
    fn parse(text: &Secret) -> Self {
        let mut request = Request::default();
        for line in text.expose().lines().take_while(|line| !line.is_empty()) {
            match line.split_once('=') {
                Some(("protocol", value)) => request.protocol = value.to_owned(),
                Some(("host", value)) => request.host = value.to_owned(),
                Some(("path", value)) => request.path = value.to_owned(),
                Some(("username", value)) => request.user = value.to_owned(),
                Some(("password", value)) => request.password = Some(Secret::new(value)),
                Some(("capability[]", "state")) => request.knows_state = true,
                Some(("capability[]", "authtype")) => request.knows_ephemeral = true,
                Some(("state[]", value)) => {
                    request.given = value
                        .strip_prefix(STATE)
                        .map(Given::parse)
                        .or(request.given);
                }
                _ => {}
            }
        }
        request
    }

    /// Gives the name of the profile if the URL's user name selected it.
    fn asked_profile(&self, identity: &Identity) -> Option<String> {
        (identity.profile.name == self.user).then(|| self.user.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        path::Path,
        process::{Command, Stdio},
    };

    #[test]
    fn unknown_keys_and_foreign_states_are_passed_over() {
        let request = Request::parse(&Secret::new(
            "capability[]=state\nstate[]=bbtoken:given=ab12\nstate[]=other:x\nprotocol=https\nhost=bitbucket.org\n\
             path=ws/r.git\npassword=a=b\n\nhost=x\n",
        ));
        assert_eq!(
            (
                request.protocol.as_str(),
                request.host.as_str(),
                request.path.as_str()
            ),
            ("https", "bitbucket.org", "ws/r.git")
        );
        assert_eq!(request.password, Some(Secret::new("a=b")));
        assert!(request.knows_state);
        let given = |fingerprint: &str, profile: Option<&str>| Given {
            fingerprint: fingerprint.to_owned(),
            profile: profile.map(str::to_owned),
        };
        assert_eq!(request.given, Some(given("ab12", None)));
        for state in [given("ab12", None), given("ab12", Some("work"))] {
            assert_eq!(Given::parse(&state.to_string()), state);
        }
    }

    #[test]
    fn any_request_is_read_or_ignored() {
        let real = "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=bitbucket.org\npath=ws/r.git\n\
                    username=u\npassword=a=b\nstate[]=bbtoken:given=ab12@work\nwwwauth[]=Basic realm=\"x\"\n\n";
        crate::inside::fuzz::check_text(
            &[
                real,
                "=\n",
                "host",
                "state[]=bbtoken:given=@\n",
                "host=a\0b\r\n",
            ],
            |text| {
                let Request {
                    protocol,
                    host,
                    path,
                    user,
                    password,
                    knows_state,
                    knows_ephemeral,
                    given,
                } = Request::parse(&Secret::new(text));
                let password = password.as_ref().map_or("", Secret::expose);
                let state = given
                    .as_ref()
                    .map(|given| format!("state[]={STATE}{given}\r\n"));
                let capability = |is_known: bool, name: &str| {
                    if is_known {
                        format!("capability[]={name}\r\n")
                    } else {
                        String::new()
                    }
                };
                // As in git, one CR before a line end belongs to the line end. A value may contain another CR.
                let again = Request::parse(&Secret::new(format!(
                    "{}{}{}protocol={protocol}\r\nhost={host}\r\npath={path}\r\nusername={user}\r\npassword={password}\r\n",
                    capability(knows_state, "state"),
                    capability(knows_ephemeral, "authtype"),
                    state.unwrap_or_default(),
                )));
                assert_eq!(
                    (&again.protocol, &again.host, &again.path, &again.user),
                    (&protocol, &host, &path, &user)
                );
                assert_eq!(
                    (again.knows_state, again.knows_ephemeral),
                    (knows_state, knows_ephemeral)
                );
                assert_eq!(again.password.as_ref().map_or("", Secret::expose), password);
                assert_eq!(again.given, given);
            },
        );
    }

    /// Gives git's request to its credential helpers for this input; `None` if git refuses the input.
    fn as_git_asks(request: &[u8], directory: &Path) -> Option<String> {
        let asked = directory.join("asked");
        let helper = format!(
            "credential.helper=!cat >'{}'; echo quit=1 #",
            asked.display()
        );
        let mut git = Command::new("git")
            .args(["-c", "credential.useHttpPath=true", "-c", &helper])
            .args(["credential", "fill"])
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", directory.join("none"))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git is there");
        let mut input = git.stdin.take().expect("it is piped");
        // Git may already have refused the first lines.
        let _ = input.write_all(request);
        drop(input);
        let done = git.wait_with_output().expect("it is ours");
        // Git may refuse the input while it asks. The helper prints only what it received completely.
        let is_whole = String::from_utf8_lossy(&done.stderr).contains("told us to quit");
        is_whole.then(|| fs::read_to_string(asked).expect("the helper wrote it"))
    }

    #[test]
    fn a_request_is_read_as_git_reads_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let kept: [&[u8]; 4] = [
            b"protocol=https\nhost=bitbucket.org\npath=ws/r.git\nusername=u\n\n",
            b"host=a\r\nhost=b=c\nprotocol=https\npath=\npath=x y\n\nhost=d\n",
            b"protocol=http\nhost=h:80\nusername=\nusername=a b \npath=//x\n",
            b"wwwauth[]=Basic realm=\"x\"\nprotocol=https\nhost=h\nunknown=1\n",
        ];
        let compared = std::cell::Cell::new(0);
        crate::inside::fuzz::check_on_disk(&kept, |input| {
            let Ok(text) = std::str::from_utf8(input) else {
                return;
            };
            // Skip `url=`, which git resolves before it asks a helper, and NUL, which ends the text for git.
            if text.contains("url=") || text.contains('\0') {
                return;
            }
            let Some(asked) = as_git_asks(input, directory.path()) else {
                return;
            };
            let parts = |text: &str| {
                let request = Request::parse(&Secret::new(text));
                (request.protocol, request.host, request.path, request.user)
            };
            assert_eq!(parts(text), parts(&asked));
            compared.set(compared.get() + 1);
        });
        assert!(compared.get() > kept.len(), "{}", compared.get());
    }
}
