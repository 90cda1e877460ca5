//! Asks for the profile, the kind of login and the client's id.

use super::super::{Console, arguments};
use crate::{
    address::{PROFILE_NAME_RULE, is_profile_name},
    app::App,
    failure::{quote, usage},
    pasted,
    profile::{self, Endpoints, GrantKind},
    site::Product,
};

/// The kinds of login, in the order in which they are offered.
const KINDS: [GrantKind; 3] = [
    GrantKind::Token,
    GrantKind::AuthorizationCode,
    GrantKind::ClientCredentials,
];

/// Chooses the profile if the user names none: the one that git uses here, or 'default'.
pub(super) fn name(
    options: &arguments::Login,
    app: &App,
    console: &mut Console<'_>,
) -> anyhow::Result<String> {
    let name = match (&options.profile, app.explain_here()) {
        (Some(name), _) => name.clone(),
        (None, Ok((name, _))) if name != profile::ENVIRONMENT => name,
        (None, Err(_)) if !app.raw.profiles.is_empty() && console.is_interactive => {
            console.ask("Name of the profile", profile::DEFAULT)?
        }
        (None, _) => profile::DEFAULT.to_owned(),
    };
    match is_profile_name(&name) {
        true => Ok(name),
        false => Err(usage(&format!(
            "'{}' is not a valid profile name: {PROFILE_NAME_RULE}",
            quote(&name)
        ))),
    }
}

pub(super) fn kind(
    options: &arguments::Login,
    known: Option<&profile::Profile>,
    product: Product,
    console: &mut Console<'_>,
) -> anyhow::Result<GrantKind> {
    let given = [
        options.with_token,
        options.browser || options.no_browser || options.port.is_some(),
        options.client_credentials,
    ];
    let chosen = given.iter().position(|is_given| *is_given);
    match (chosen, known) {
        (Some(chosen), _) => Ok(KINDS[chosen]),
        (None, Some(profile)) if profile.shared.is_none() => Ok(profile.grant.kind()),
        (None, _) if console.is_interactive => {
            let texts = product.words().logins;
            let choices = [0, 1, 2].map(|at| (KINDS[at].name(), texts[at]));
            let chosen = console.choose("How do you want to log in?", &choices)?;
            Ok(KINDS[chosen])
        }
        (None, _) => Err(usage(
            "no login method was given; choose --browser, --client-credentials or --with-token",
        )),
    }
}

/// Shows how to create a token or a client.
pub(super) fn show(steps: &str, site: &Endpoints, console: &Console<'_>) {
    let steps = steps.replace("{base}", site.base.as_str().trim_end_matches('/'));
    steps.lines().for_each(|line| console.tell(line));
}

/// Asks for the client's id until the answer has a valid form.
pub(super) fn ask_id(product: Product, console: &mut Console<'_>) -> anyhow::Result<String> {
    loop {
        let id = console.ask(product.words().client_itself[1], "")?;
        match checked_id(&id) {
            Ok(id) => return Ok(id),
            Err(error) => console.tell(&format!("{error:#}.")),
        }
    }
}

pub(super) fn checked_id(text: &str) -> anyhow::Result<String> {
    let id = pasted::text(text.as_bytes());
    let id = id.and_then(|id| pasted::check_id(id.expose()).map(|()| id));
    let id = id.map_err(|flaw| usage(&format!("the client's id {flaw}; nothing was changed")))?;
    Ok(id.expose().to_owned())
}
