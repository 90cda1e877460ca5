//! Finds the account of a token with Bitbucket's REST API, for tokens that may use it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

use super::{App, Identity};
use crate::{
    failure::quote,
    git_config::{self, process_variable},
    http::{HttpClient as _, Request, Response, Url},
    profile::{Grant, Profile},
    secret::Secret,
    token::Bearer,
};

/// How long the answer may take.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// The OAuth scopes that open `/2.0/user` (Bitbucket: "REST API scopes").
const SCOPES: [&str; 2] = ["account", "account:write"];

/// Whose token it is.
#[derive(Debug)]
pub(crate) enum Owner {
    /// Bitbucket named the account.
    Account(Account),
    /// Bitbucket's API cannot be used, or did not name the account; with the reason.
    Untold(String),
    /// Bitbucket accepts the token, but it has no scope for accounts; with its scopes, if Bitbucket named them.
    NoScope(Vec<String>),
    /// Bitbucket refuses the token (status 401).
    Refused,
}

impl Owner {
    /// Gives the account, if Bitbucket named it.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Owner::Account(account) => Some(account.shown()),
            Owner::Untold(_) | Owner::NoScope(_) | Owner::Refused => None,
        }
    }

    /// Says why the account is unknown, if Bitbucket did not name it.
    pub(crate) fn untold(&self) -> Option<&str> {
        match self {
            Owner::Untold(why) => Some(why),
            Owner::NoScope(_) => Some("the token lacks the scope to read the account"),
            Owner::Account(_) | Owner::Refused => None,
        }
    }
}

/// An account at Bitbucket.
#[derive(Debug)]
pub(crate) struct Account {
    /// The name that people see.
    pub display_name: String,
    /// The name in addresses and settings. Bitbucket's pages show another one.
    pub names: Vec<String>,
}

impl Account {
    /// Shows it in one line.
    pub(crate) fn shown(&self) -> String {
        match self.names.first() {
            Some(name) => format!("{} ({})", quote(&self.display_name), quote(name)),
            None => quote(&self.display_name),
        }
    }

    /// Tells whether a name may mean this account.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let mut names = self.names.iter().chain([&self.display_name]);
        names.any(|own| own.eq_ignore_ascii_case(name))
    }

    fn of(user: &Value) -> Option<Self> {
        let text = |name: &str| user.get(name)?.as_str().map(str::to_owned);
        let names: Vec<_> = ["username", "nickname", "account_id"]
            .into_iter()
            .filter_map(text)
            .collect();
        let display_name = text("display_name").or_else(|| names.first().cloned())?;
        Some(Account {
            display_name,
            names,
        })
    }
}

impl App {
    /// Asks Bitbucket for the account of a profile's token, and saves it for `status`. `scopes` are the token's known
    /// scopes.
    ///
    /// # Errors
    ///
    /// If there is no token, or Bitbucket cannot be reached.
    pub(crate) fn owner(
        &self,
        identity: &Identity,
        scopes: &[String],
        notify: &dyn Fn(&str),
    ) -> anyhow::Result<Owner> {
        let profile = &identity.profile;
        if let Some(why) = cannot_tell(profile, scopes) {
            return Ok(untold(why));
        }
        let bearer = identity.tokens(notify).bearer(Duration::ZERO)?;
        let owner = self.owner_of(identity, &bearer, scopes)?;
        identity.keep_owner(owner.name().as_deref(), notify);
        Ok(owner)
    }

    /// Asks Bitbucket for the account of a token, and saves nothing.
    ///
    /// # Errors
    ///
    /// If Bitbucket cannot be reached.
    pub(crate) fn owner_of(
        &self,
        identity: &Identity,
        bearer: &Bearer,
        scopes: &[String],
    ) -> anyhow::Result<Owner> {
        let profile = &identity.profile;
        if let Some(why) = cannot_tell(profile, scopes) {
            return Ok(untold(why));
        }
        let Some(authorization) = authorization(profile, bearer) else {
            let why = format!(
                "for an API token, Bitbucket needs the account's e-mail address, too; set it: git config --global bbtoken.{profile}.account <address>"
            );
            return Ok(untold(&why));
        };
        let url = user_url(&profile.endpoints.base)?;
        let http = git_config::http_settings(&self.git.protected(), &process_variable, &url, None)?;
        if let Some(setting) = &http.settings.unverified_by {
            let why = format!(
                "{setting} disables certificate checks, so the helper does not send the token only to ask for a name"
            );
            return Ok(untold(&why));
        }
        let client = super::client::client(&http)?;
        let mut request = Request::get(url).header("Accept", "application/json");
        request.authorization = Some(authorization);
        request.time_limit = Some(TIME_LIMIT);
        read(client.send(request)?)
    }
}

/// Says why it need not be asked.
fn cannot_tell(profile: &Profile, scopes: &[String]) -> Option<&'static str> {
    let has_scope =
        scopes.is_empty() || scopes.iter().any(|scope| SCOPES.contains(&scope.as_str()));
    match &profile.grant {
        Grant::ClientCredentials(_) => Some("the token belongs to the client, not to a person"),
        Grant::AuthorizationCode(_) if !has_scope => Some(
            "Bitbucket names the account only if 'Account: Read' is ticked at the OAuth consumer",
        ),
        Grant::AuthorizationCode(_) | Grant::Token(_) | Grant::Shared(_) => None,
    }
}

/// OAuth tokens and access tokens are sent as Bearer, API tokens with their account's e-mail address (Bitbucket: "Using
/// API tokens").
fn authorization(profile: &Profile, bearer: &Bearer) -> Option<Secret> {
    let token = bearer.token.expose();
    if bearer.user == "x-token-auth" {
        return Some(Secret::new(format!("Bearer {token}")));
    }
    let address = Some(&profile.account).filter(|account| account.contains('@'))?;
    let pair = Secret::new(format!("{address}:{token}"));
    Some(Secret::new(format!(
        "Basic {}",
        BASE64.encode(pair.expose())
    )))
}

/// Bitbucket Cloud's API is on another host. With any other base URL, the API is below that URL.
fn user_url(base: &Url) -> anyhow::Result<Url> {
    let url = match base.host_str() {
        Some("bitbucket.org") => "https://api.bitbucket.org/2.0/user".to_owned(),
        _ => format!("{}/2.0/user", base.as_str().trim_end_matches('/')),
    };
    Ok(Url::parse(&url)?)
}

fn read(mut response: Response) -> anyhow::Result<Owner> {
    let status = response.status;
    let body =
        Secret::new(String::from_utf8_lossy(&response.read_body(MAX_ANSWER_BYTES)?).into_owned());
    let answer: Value = serde_json::from_str(body.expose()).unwrap_or_default();
    Ok(match status {
        200 => match Account::of(&answer) {
            Some(account) => Owner::Account(account),
            None => untold("Bitbucket's response contains no account name"),
        },
        401 => Owner::Refused,
        403 if answer.get("error").is_some() => {
            let granted = answer.pointer("/error/detail/granted");
            let granted = granted.and_then(Value::as_array).into_iter().flatten();
            let scopes = granted.filter_map(Value::as_str).map(str::to_owned);
            Owner::NoScope(scopes.collect())
        }
        status => untold(&format!("Bitbucket answered {status}")),
    })
}

fn untold(why: &str) -> Owner {
    Owner::Untold(why.to_owned())
}

/// Tells whether the profile names an account to compare with.
pub(crate) fn is_named(profile: &Profile) -> bool {
    profile.account != profile.name && !profile.account.contains('@')
}

/// Says that a profile names another account than the one that logged in, because two accounts in one browser are
/// easily mixed up. This is not an error: the profile's account may be a name that only the user knows.
pub(crate) fn other_account(profile: &Profile, account: &Account) -> Option<String> {
    let meant = &profile.account;
    if !is_named(profile) || account.is_called(meant) {
        return None;
    }
    Some(format!(
        "profile '{profile}' is for account '{meant}', but its login belongs to {}",
        account.shown()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitbucket_is_asked_at_the_host_of_its_api_and_any_other_below_its_base() {
        for (base, asked) in [
            (
                "https://bitbucket.org",
                "https://api.bitbucket.org/2.0/user",
            ),
            (
                "https://git.example.com:8443/bb",
                "https://git.example.com:8443/bb/2.0/user",
            ),
        ] {
            let base = Url::parse(base).expect("it is a URL");
            assert_eq!(user_url(&base).expect("it is a URL").as_str(), asked);
        }
    }

    #[test]
    fn an_account_is_known_by_each_of_its_names() {
        let user = serde_json::json!({ "display_name": "Ann\u{1b} B", "nickname": "annb", "type": "user" });
        let account = Account::of(&user).expect("it has a name");
        assert_eq!(account.shown(), "Ann\\u{1b} B (annb)");
        assert!(account.is_called("ANNB") && !account.is_called("bob"));
        assert!(Account::of(&serde_json::json!({ "type": "error" })).is_none());
    }

    #[test]
    fn whatever_an_account_is_called_is_shown_in_one_line() {
        let kept = [
            r#"{"display_name":"Ann\u001b B","nickname":"annb","type":"user"}"#,
            r#"{"username":"a\nb","account_id":""}"#,
            r#"{"display_name":7,"nickname":[]}"#,
            r#"[{"display_name":"x"}]"#,
        ];
        crate::fuzz::check_text(&kept, |text| {
            let user: Value = serde_json::from_str(text).unwrap_or_default();
            if let Some(account) = Account::of(&user) {
                let shown = account.shown();
                crate::fuzz::expect_printable(&shown);
                assert!(shown.chars().count() < 10 * 2 * 200, "{shown}");
                assert!(account.is_called(&account.display_name));
            }
        });
    }
}
