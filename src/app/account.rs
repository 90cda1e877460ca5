//! Finds the account of a token with Bitbucket's REST API, for tokens that may use it.

use std::time::Duration;

use super::{Identity, context::App};
use crate::{
    failure::{Failure, Kind},
    git_config::{self, process_variable},
    http::{Body, HttpClient as _, Request},
    profile::{Grant, Profile},
    site::{Account, Owner, Reply, Sent, basic, untold},
    token::{Bearer, StoredAnswer},
    url::Url,
};

/// How long the answer may take.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// The type of requests of git-lfs ("Git LFS Batch API").
const LFS_JSON: &str = "application/vnd.git-lfs+json";
/// How long a refused token is not sent again.
const REFUSED_S: u64 = 300;

impl App {
    /// Asks Bitbucket for the account of a profile's token, and saves it for `status`. `scopes` are the token's known
    /// scopes.
    ///
    /// # Errors
    ///
    /// If there is no token, or Bitbucket cannot be reached.
    pub(crate) fn owner(&self, identity: &Identity, scopes: &[String]) -> anyhow::Result<Owner> {
        let profile = &identity.profile;
        if let Some(why) = cannot_tell(profile, scopes) {
            return Ok(untold(why));
        }
        let bearer = identity.tokens().bearer(Duration::ZERO)?;
        let owner = self.owner_of(identity, &bearer, scopes)?;
        identity.save_owner(&owner, &bearer);
        Ok(owner)
    }

    /// Gives the user name beside a token, for programs that send passwords only.
    ///
    /// # Errors
    ///
    /// If Bitbucket has refused the token, where further attempts would lock the account.
    pub(crate) fn user(&self, identity: &Identity, bearer: &Bearer) -> anyhow::Result<String> {
        let owner = match identity.must_know_owner() {
            true => self.password_owner(identity, bearer)?,
            false => None,
        };
        let product = identity.profile.endpoints.product;
        Ok(product.user(&bearer.token, owner.as_deref()).to_owned())
    }

    /// Finds the owner of a token that the user provides. Asks Bitbucket if a new token has no known owner, and after a
    /// refusal some time ago: this request has the token as Bearer, which is no failed login.
    fn password_owner(
        &self,
        identity: &Identity,
        bearer: &Bearer,
    ) -> anyhow::Result<Option<String>> {
        let profile = &identity.profile;
        let tokens = identity.tokens_without_request();
        match tokens.stored_answer(&bearer.token.fingerprint()) {
            Some(StoredAnswer::Named(name)) => return Ok(Some(name)),
            Some(StoredAnswer::Refused { age_s }) if age_s < REFUSED_S => {
                return Err(refused(profile));
            }
            None if profile.account != profile.name => return Ok(Some(profile.account.clone())),
            Some(StoredAnswer::Refused { .. }) | None => {}
        }
        // If Bitbucket does not tell, it may be a token of a project or repository.
        let Ok(owner) = self.owner_of(identity, bearer, &[]) else {
            return Ok(None);
        };
        identity.save_owner(&owner, bearer);
        match owner {
            Owner::Refused => Err(refused(profile)),
            owner => Ok(owner.name()),
        }
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
            return Ok(untold(why));
        };
        let url = Url::parse(&product.account_url(&profile.endpoints.base))?;
        let mut request = Request::get(url).header("Accept", "application/json");
        request.authorization = Some(authorization);
        let reply = self.send(request)?;
        Ok(reply.map_or_else(untold, |reply| product.owner(&reply)))
    }

    /// Asks a question of `doctor`.
    ///
    /// # Errors
    ///
    /// If there is no token, or Bitbucket cannot be reached.
    pub(crate) fn ask(
        &self,
        identity: &Identity,
        path: &str,
        (sent, body): (Sent, Option<&'static str>),
    ) -> anyhow::Result<Reply> {
        let endpoints = &identity.profile.endpoints;
        let base = endpoints.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/{path}"))?;
        let mut request = match body {
            Some(body) => Request::post(url, Body::Bytes(body.into()))
                .header("Content-Type", LFS_JSON)
                .header("Accept", LFS_JSON),
            None => Request::get(url).header("Accept", "application/json"),
        };
        let bearer = || identity.tokens().bearer(Duration::ZERO);
        request.authorization = match sent {
            Sent::Nowhere => None,
            Sent::Usual => Some(endpoints.product.authorization(&bearer()?.token)),
            Sent::Password => {
                let bearer = bearer()?;
                Some(basic(&self.user(identity, &bearer)?, &bearer.token))
            }
        };
        self.send(request)?.map_err(anyhow::Error::msg)
    }

    /// Sends a request that only asks; gives the reason if it is not sent.
    fn send(&self, mut request: Request) -> anyhow::Result<Result<Reply, String>> {
        let url = &request.url;
        let http = git_config::http_settings(&self.git.protected(), &process_variable, url, None)?;
        if let Some(setting) = &http.settings.unverified_by {
            return Ok(Err(format!(
                "{setting} disables certificate checks, so the helper does not send the token only to ask for a name"
            )));
        }
        request.time_limit = Some(TIME_LIMIT);
        let mut response = self.services.clients.of(url, &http)?.send(request)?;
        let body = response.read_body(MAX_ANSWER_BYTES)?;
        Ok(Ok(Reply {
            status: response.status,
            headers: response.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }))
    }
}

/// Says why it need not be asked.
fn cannot_tell(profile: &Profile, scopes: &[String]) -> Option<&'static str> {
    let facts = profile.endpoints.product.facts();
    let may_tell = |scope: &String| facts.account_scopes.contains(&scope.as_str());
    match &profile.grant {
        Grant::ClientCredentials(_) => facts.words.no_client_account,
        Grant::AuthorizationCode(_) if scopes.is_empty() || scopes.iter().any(may_tell) => None,
        Grant::AuthorizationCode(_) => facts.words.no_account_scope,
        Grant::Token(_) | Grant::Shared(_) => None,
    }
}

/// Makes the error for a token that Bitbucket has refused.
pub(crate) fn refused(profile: &Profile) -> anyhow::Error {
    let message = format!(
        "Bitbucket refused the token of profile '{profile}', and the profile has no other token"
    );
    let profile = profile.name.clone();
    Failure::new(Kind::LoginNeeded { profile }, message).into()
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
