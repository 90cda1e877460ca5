//! Gets the user's consent in a browser, on this machine or on another one.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{
    super::{Console, signals},
    Login, given,
    opener::Choice,
    outcome::{Accounts, unexpected},
    trial,
};
use crate::{
    app::{self, Identity},
    clock,
    failure::{Failure, quote, usage},
    oauth::{self, Authorization, Callback, Listener, Shown, Visitor},
    profile::Grant,
    report,
    secret::Secret,
    site::{Account, Owner},
    token::{Accept, Bearer, needs_login},
};

impl Login<'_> {
    pub(super) fn by_browser(&self, console: &mut Console<'_>) -> anyhow::Result<Accounts> {
        let options = self.options;
        let choice = Choice::of(std::env::var("BROWSER").ok().as_deref());
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let obstacle = obstacle(&is_set).filter(|_| !matches!(choice, Choice::Commands(_)));
        let (stored, _) = self.identity.stored();
        let mut accounts = Accounts {
            replaced: stored.owner.map(|owner| owner.name),
            ..Accounts::default()
        };
        let fixed = self.fixed_redirect()?;
        // A user who gives a port forwards it from the machine with the browser.
        let has_port = options.port.is_some() || fixed.is_some_and(oauth::is_of_listener);
        let by_pasting = options.no_browser
            || (fixed.is_some() && !has_port)
            || (!has_port && obstacle.is_some() && console.is_interactive);
        let needs_port = choice == Choice::Desktop && !by_pasting;
        if let (Some(obstacle), false, true) = (obstacle, has_port, needs_port) {
            return Err(usage(&format!(
                "login cannot open a browser: {obstacle}; give --no-browser to log in with a browser on any machine"
            )));
        }
        if by_pasting {
            self.by_pasting_an_address(obstacle, &mut accounts, console)?;
        } else {
            let choice = self.allowed(choice, obstacle, console);
            self.by_listening(&choice, &mut accounts, console)?;
        }
        Ok(accounts)
    }

    /// Gives the redirect URI that was registered, if the profile names one.
    fn fixed_redirect(&self) -> anyhow::Result<Option<&str>> {
        let profile = &self.identity.profile;
        match &profile.redirect_uri {
            Some(_) if self.options.port.is_some() => Err(usage(&format!(
                "bbtoken.{profile}.redirectUri already says where the browser goes; omit --port"
            ))),
            None if profile.endpoints.product.facts().has_fixed_redirects => Err(usage(
                "this Bitbucket accepts only the redirect URL that is registered at the application link; give it with --redirect-uri",
            )),
            uri => Ok(uri.as_deref()),
        }
    }

    /// Chooses the browser to open. Opens none where the user could not see it, or where a setting forbids prompts.
    fn allowed(&self, choice: Choice, obstacle: Option<&str>, console: &Console<'_>) -> Choice {
        if obstacle.is_some() || choice == Choice::Nothing {
            return Choice::Nothing;
        }
        let Some(setting) = &self.app.no_questions else {
            return choice;
        };
        console.tell(&format!(
            "Login does not open a browser, because {setting} forbids prompts."
        ));
        Choice::Nothing
    }

    /// Listens on this machine for the browser's redirect.
    fn by_listening(
        &self,
        choice: &Choice,
        accounts: &mut Accounts,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let (identity, timeout_s) = (&self.identity, self.options.timeout);
        let listener = match self.fixed_redirect()? {
            Some(uri) => Listener::bind_for(uri)?,
            None => Listener::bind(self.options.port.unwrap_or(0))?,
        };
        let redirect_uri = listener.redirect_uri().to_owned();
        let authorization = Arc::new(identity.authorize(Some(&redirect_uri))?);
        let is_opened = *choice != Choice::Nothing && choice.open(listener.start_page().expose());
        if is_opened {
            console.tell("Grant access on the page in your browser.");
            console.tell(&format!(
                "If no page has opened, press Ctrl-C and run 'git bbtoken login {} --no-browser'.",
                identity.profile
            ));
        } else {
            if *choice != Choice::Nothing {
                console.tell("No browser could be opened; open the page yourself.");
            }
            console.answer_text(&format!(
                "Open this page in a browser on this machine and grant access:\n\n  {}\n\n",
                authorization.url
            ))?;
        }
        console.answer_text(&format!(
            "Waiting for the browser to come back to {redirect_uri} …\n"
        ))?;
        let visitor = listener
            .wait(&authorization, Duration::from_secs(timeout_s))
            .context("cannot wait for the browser")?
            .with_context(|| {
                let limit = clock::span(timeout_s);
                not_done(
                    identity,
                    &format!("the browser did not come back within {limit}"),
                )
            })?;
        let code = visitor.outcome.clone();
        let mut visitor = Some(visitor);
        let outcome = match &code {
            Ok(code) => self.exchange(&authorization, code, &mut visitor, accounts, console),
            Err(why) => Err(not_done(identity, why).into()),
        };
        if let Some(visitor) = visitor {
            visitor.show(match outcome {
                Ok(()) => Shown::Done,
                Err(_) => Shown::Failed,
            });
        }
        outcome
    }

    /// Asks for the address of the page that a browser on any machine shows at the end.
    fn by_pasting_an_address(
        &self,
        obstacle: Option<&str>,
        accounts: &mut Accounts,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let (options, identity) = (self.options, &self.identity);
        let fixed = self.fixed_redirect()?;
        let authorization = identity.authorize(fixed)?;
        // A registered redirect URL has no other port.
        let may_listen = !options.no_browser && fixed.is_none();
        if let Some(obstacle) = obstacle.filter(|_| may_listen) {
            console.tell(&format!(
                "Login does not open a browser here: {obstacle}. To log in without pasting, start again with"
            ));
            console.tell(&format!(
                "  git bbtoken login {} --port 8976",
                identity.profile
            ));
            console.tell("while this command runs on the machine with the browser:");
            console.tell("  ssh -L 8976:127.0.0.1:8976 <this machine>");
            console.tell("");
        }
        console.answer_text(&format!(
            "Open this page in a browser on any machine and grant access:\n\n  {}\n\n\
             The browser then opens a page that may show an error; that is expected.\n\
             Paste the whole address of that page here, or only the code in it, and press Enter:\n",
            authorization.url
        ))?;
        if let Some(hurry) = identity.profile.endpoints.product.words().hurry {
            console.tell(hurry);
        }
        let code = loop {
            let address = Secret::new(console.line()?);
            let pasted = trimmed(address.expose());
            let bare = oauth::bare_code(pasted).map(Callback::Code);
            match bare.unwrap_or_else(|| authorization.read(query_of(pasted))) {
                Callback::Code(code) => break code,
                Callback::Denied(why) => return Err(not_done(identity, &why).into()),
                Callback::Foreign if console.is_interactive => console.tell(
                    "That address does not belong to this login. Paste all of it, from http to the end:",
                ),
                Callback::Foreign => {
                    let why = "the address does not belong to this login; paste all of it, from http to the end";
                    return Err(not_done(identity, why).into());
                }
            }
        };
        self.exchange(&authorization, &code, &mut None, accounts, console)
    }

    /// Exchanges the code for a login. On a terminal, asks before it saves the login of an unexpected account. Without a
    /// terminal, such a login does not replace a shared one.
    fn exchange(
        &self,
        authorization: &Authorization,
        code: &Secret,
        visitor: &mut Option<Visitor>,
        accounts: &mut Accounts,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let identity = &self.identity;
        let stopped = identity.profile.clone();
        signals::before_end(move || app::release_room(&stopped))?;
        let profile = &identity.profile;
        let is_shared = profile.shared.is_some();
        let is_asked = is_shared || console.is_interactive && accounts.expects(profile);
        let ask = |bearer: &Bearer, scopes: &[String]| {
            if let Some(address) = self.to_try() {
                let with_token = identity.granted(Grant::Token(given(&bearer.token)));
                trial::on_repository(&with_token, address)?;
            }
            if !is_asked {
                return Ok(None);
            }
            if is_shared {
                accounts.replaced = identity.tokens_at_store().shared_owner()?;
            }
            // The outcome says why the account is unknown.
            let Ok(owner) = self.app.owner_of(identity, bearer, scopes) else {
                return Ok(None);
            };
            if let Owner::Account(account) = &owner
                && let Some(text) = unexpected(profile, accounts, account)
            {
                if is_shared && !console.is_interactive {
                    return Err(other_account(identity, &text, account));
                }
                if let Some(visitor) = visitor.take() {
                    visitor.show(Shown::Asked);
                }
                if !console.confirm(&format!("{text}. Keep this login?"))? {
                    let why = "the browser is logged in to Bitbucket as another account; change the account there first";
                    return Err(not_done(identity, why).into());
                }
            }
            let name = owner.name();
            if let (None, Some(replaced)) = (&name, &accounts.replaced)
                && is_shared
            {
                report::warn(&format!(
                    "profile '{profile}' was logged in as {}; Bitbucket did not name the account of the new login",
                    quote(replaced)
                ));
            }
            accounts.owner = Some(owner);
            accounts.is_agreed = true;
            Ok(name)
        };
        let accept = (is_asked || self.to_try().is_some()).then(|| Box::new(ask) as Accept<'_>);
        identity.tokens().log_in(authorization, code, accept)
    }
}

/// Says why the user could not see a browser that login opens.
fn obstacle(is_set: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let in_container = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|mark| std::path::Path::new(mark).exists());
    if ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"]
        .iter()
        .any(|name| is_set(name))
    {
        Some("this is an ssh session")
    } else if cfg!(unix) && in_container && !is_set("DISPLAY") {
        Some("this is a container")
    } else if cfg!(all(unix, not(target_os = "macos")))
        && !["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
            .iter()
            .any(|name| is_set(name))
    {
        Some("there is no display")
    } else {
        None
    }
}

/// Finds the query in a pasted address, with or without quotes.
fn query_of(pasted: &str) -> &str {
    let pasted = trimmed(pasted);
    let query = pasted.split_once('?').map_or(pasted, |(_, query)| query);
    query.split('#').next().unwrap_or("")
}

/// Removes spaces, quotes and brackets around a pasted address or code.
fn trimmed(pasted: &str) -> &str {
    pasted.trim_matches(|c: char| c.is_whitespace() || "\"'<>".contains(c))
}

/// Makes the error for a login that would replace the shared login of another account.
fn other_account(identity: &Identity, text: &str, account: &Account) -> anyhow::Error {
    let name = account.names.first().unwrap_or(&account.display_name);
    usage(&format!(
        "the login of profile '{}' failed, and nothing was changed: {text}; change the account in the browser first, or give --account {} to replace the shared login",
        identity.profile,
        quote(name)
    ))
}

fn not_done(identity: &Identity, why: &str) -> Failure {
    let profile = &identity.profile;
    let message = format!("the login of profile '{profile}' failed: {why}");
    Failure::new(needs_login(profile), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_found_in_what_people_paste() {
        for pasted in [
            "http://127.0.0.1/callback?code=a&state=b",
            " 'http://127.0.0.1/callback?code=a&state=b'\r\n",
            "<http://127.0.0.1/callback?code=a&state=b#top>",
            "code=a&state=b\n",
        ] {
            assert_eq!(query_of(pasted), "code=a&state=b", "{pasted}");
        }
    }

    #[test]
    fn an_ssh_session_opens_no_browser() {
        let with = |names: &'static [&str]| obstacle(&move |name: &str| names.contains(&name));
        assert_eq!(
            with(&["DISPLAY", "SSH_TTY"]),
            Some("this is an ssh session")
        );
        assert_eq!(with(&["DISPLAY"]), None);
    }
}
