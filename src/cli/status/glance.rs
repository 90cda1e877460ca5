//! `git bbtoken status` without options: one line for each profile, with its fix.

use super::view::View;
use crate::{
    cli::style::Style,
    clock,
    failure::quote,
    profile::{ENVIRONMENT, Grant, Profile, Source},
    report,
    secret::{mask_id, mask_name},
    token::Stored,
};

/// Gives a line for each profile: mark, name, account, workspaces, and how long it is valid. Also tells whether all
/// profiles work.
pub(super) fn lines(
    views: &[View],
    used: Option<&str>,
    now_unix_s: u64,
    style: Style,
) -> (Vec<String>, bool) {
    let rows: Vec<_> = views.iter().map(|view| row(view, now_unix_s)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|(_, cells)| cells[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let line = |(validity, [name, account, workspaces]): &(Validity, [String; 3])| {
        let (mark, text) = match validity {
            Ok(text) => (style.mark(true), text),
            Err(text) => (style.mark(false), text),
        };
        let here = match used == Some(name.as_str()) {
            true => "; git uses it here",
            false => "",
        };
        format!(
            "{mark} {name:0$}  {account:1$}  {workspaces:2$}  {text}{here}",
            widths[0], widths[1], widths[2]
        )
    };
    let are_good = rows.iter().all(|(validity, _)| validity.is_ok());
    (rows.iter().map(line).collect(), are_good)
}

/// How long a profile can be used, or why it cannot.
type Validity = Result<String, String>;

fn row(view: &View, now_unix_s: u64) -> (Validity, [String; 3]) {
    let name = view.name.clone();
    let workspaces = match view.workspaces().as_slice() {
        [] => format!("all {}s", view.space()),
        some => some
            .iter()
            .map(|name| mask_name(name))
            .collect::<Vec<_>>()
            .join(", "),
    };
    match &view.found {
        Err(error) => {
            let why = Err(format!("cannot be used: {error:#}"));
            (why, [name, "-".to_owned(), workspaces])
        }
        Ok((profile, stored, problem)) => {
            let validity = match problem {
                Some(problem) => Err(format!("cannot read its store: {problem:#}")),
                None => validity(profile, stored, now_unix_s)
                    .map(|text| format!("{text}{}{}", source(view, profile), view.of_site())),
            };
            (validity, [name, account(profile, stored), workspaces])
        }
    }
}

/// Names the source of a client that the profile does not define itself.
fn source(view: &View, profile: &Profile) -> String {
    let own = format!("bbtoken.{}.", profile.name);
    let mut settings = view.settings.iter();
    let id = settings.find(|(key, _)| *key == "clientId");
    match (&profile.grant, id) {
        (Grant::AuthorizationCode(_), Some((_, id))) if !id.origin.starts_with(&own) => {
            format!("; client: {}", id.origin)
        }
        _ => String::new(),
    }
}

fn account(profile: &Profile, stored: &Stored) -> String {
    match (&stored.owner, &profile.grant) {
        (Some(owner), _) => quote(&owner.name),
        (None, _) if profile.account != profile.name => quote(&profile.account),
        (None, Grant::ClientCredentials(client)) => format!("client {}", mask_id(&client.id)),
        (None, _) => "account unknown".to_owned(),
    }
}

fn validity(profile: &Profile, stored: &Stored, now_unix_s: u64) -> Validity {
    let (secret, what, in_store) = match &profile.grant {
        Grant::Token(token) => (token, "token", &stored.token),
        Grant::Shared(_) => {
            let shared = profile.shared.as_ref();
            let place = shared.map_or_else(String::new, |shared| format!(" from {shared}"));
            return Ok(format!("reads a shared login{place}"));
        }
        Grant::AuthorizationCode(client) | Grant::ClientCredentials(client) => {
            (&client.secret, "client secret", &stored.client_secret)
        }
    };
    let login = match profile.name.as_str() {
        ENVIRONMENT => "set BBTOKEN_CLIENT_SECRET".to_owned(),
        name => report::for_this_user(&format!("run 'git bbtoken login {name}'")),
    };
    match secret {
        Source::Stored if in_store.is_none() => return Err(format!("{what} missing: {login}")),
        Source::File(path) if !path.exists() => {
            return Err(format!("{what} missing: no file '{}'", path.display()));
        }
        _ => {}
    }
    match (&profile.grant, &stored.login, &stored.access_token) {
        (Grant::AuthorizationCode(_), None, _) => Err(format!("no login: {login}")),
        (Grant::AuthorizationCode(_), Some(_), _) if stored.has_ended => {
            Err(format!("login has ended: {login}"))
        }
        (Grant::AuthorizationCode(_), Some(login), _) => {
            let since = clock::ago(login.obtained_at_unix_s, now_unix_s);
            Ok(format!("login, refreshed {since}"))
        }
        (Grant::Token(_), ..) => Ok("token, expiry unknown".to_owned()),
        (Grant::ClientCredentials(_), _, Some(token)) if token.expires_at_unix_s > now_unix_s => {
            let expiry = clock::expiry(token.expires_at_unix_s, now_unix_s);
            Ok(format!("token {expiry}"))
        }
        (Grant::ClientCredentials(_) | Grant::Shared(_), ..) => {
            Ok("gets a token when git needs one".to_owned())
        }
    }
}
