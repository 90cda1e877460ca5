//! Finds the account of a token with Bitbucket's REST API, for tokens that may use it.

use std::time::Duration;

use super::{App, Identity};
use crate::{
    git_config::{self, process_variable},
    http::{HttpClient as _, Request, Response, Url},
    profile::{Grant, Profile},
    secret::Secret,
    site::{Account, Owner, Product, Told},
    token::Bearer,
};

/// How long the answer may take.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
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
        let product = profile.endpoints.product;
        let authorization = product.account_authorization(&bearer.token, &profile.account);
        let Some(authorization) = authorization else {
            let why = format!(
                "for an API token, Bitbucket needs the account's e-mail address, too; set it: git config --global bbtoken.{profile}.account <address>"
            );
            return Ok(untold(&why));
        };
        let url = Url::parse(&product.account_url(&profile.endpoints.base))?;
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
        read(client.send(request)?, product)
    }
}

/// Says why it need not be asked.
fn cannot_tell(profile: &Profile, scopes: &[String]) -> Option<&'static str> {
    match &profile.grant {
        Grant::ClientCredentials(_) => Some("the token belongs to the client, not to a person"),
        Grant::AuthorizationCode(_) => profile.endpoints.product.no_account_with(scopes),
        Grant::Token(_) | Grant::Shared(_) => None,
    }
}

fn read(mut response: Response, product: Product) -> anyhow::Result<Owner> {
    let body = response.read_body(MAX_ANSWER_BYTES)?;
    let body = Secret::new(String::from_utf8_lossy(&body).into_owned());
    Ok(product.owner(Told {
        status: response.status,
        header: &|name| response.header(name),
        body: &serde_json::from_str(body.expose()).unwrap_or_default(),
    }))
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
