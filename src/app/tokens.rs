//! Gets, saves and removes the tokens of a profile.

use std::time::Duration;

use anyhow::Context as _;

use super::{Identity, advertisement_cache, context::App, identity::authority, places::places};
use crate::{
    failure::{self, Failure, Kind, Renewal, quote},
    git_config::{self, Directories, HttpSettings, process_variable},
    oauth::Authorization,
    parent_watch::Watch,
    profile::{Grant, Profile, SharedStore, Source, Store},
    secret::Secret,
    site::{Owner, Product},
    token::{self, Bearer, Forgotten, Inspection, SharedState, Stored, Tokens},
    trace,
    transport::Authorizer,
    url::Url,
};

/// Git's own transport cannot replace a token, so its token must be valid for longer.
const GIT_TRANSPORT_MARGIN: Duration = Duration::from_secs(300);

impl Identity {
    /// Gives the source of the `Authorization` header for this profile's requests.
    pub(crate) fn authorizer<'a>(&'a self, watch: &'a Watch) -> TokenAuthorizer<'a> {
        TokenAuthorizer {
            tokens: self.tokens(),
            identity: self,
            // Do not stop the refresh of a login when git has ended, because the next refresh token would be lost.
            watch: match self.profile.grant {
                Grant::AuthorizationCode(_) | Grant::Shared(_) => None,
                Grant::ClientCredentials(_) | Grant::Token(_) => Some(watch),
            },
        }
    }

    /// Gives the profile's tokens. Warns of each server whose certificate is not checked.
    pub(crate) fn tokens(&self) -> Tokens<'_> {
        let endpoints = &self.profile.endpoints;
        self.warn_of_unverified(&endpoints.base, Some(&self.http));
        self.warn_of_unverified(&endpoints.token, self.token_http.as_ref());
        self.tokens_at_store()
    }

    /// Gives the tokens for code that makes requests to a shared store only. Warns if its certificate is not checked.
    pub(crate) fn tokens_at_store(&self) -> Tokens<'_> {
        if let Some(SharedStore::Vault(vault)) = &self.profile.shared {
            self.warn_of_unverified(&vault.url, self.store_http.as_ref());
        }
        self.tokens_without_request()
    }

    /// Gives the tokens for code that makes no request, without these warnings.
    pub(crate) fn tokens_without_request(&self) -> Tokens<'_> {
        let places = places(&self.profile);
        if let Some(cache) = &places.cache {
            git_config::save_learned(cache);
        }
        let services = &self.services;
        Tokens::new(
            &self.profile,
            self,
            &services.clock,
            places,
            &services.reporter,
        )
    }

    /// Warns if the certificate of a server is not checked.
    fn warn_of_unverified(&self, url: &Url, http: Option<&HttpSettings>) {
        if let Some(setting) = http.and_then(|http| http.settings.unverified_by.as_ref()) {
            let host = authority(url);
            (self.services.reporter)(&format!(
                "{setting} disables the certificate check for '{host}': a server that impersonates it gets the token"
            ));
        }
    }

    /// Reads the profile's saved data without a request. Also gives the error if the store could not be read.
    pub(crate) fn stored(&self) -> (Stored, Option<anyhow::Error>) {
        self.tokens_without_request().stored()
    }

    /// Saves a client's secret or an access token in the profile's store.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`].
    pub(crate) fn save(&self, secret: &Secret) -> anyhow::Result<()> {
        let saved = self.tokens_at_store().save(secret);
        saved.with_context(|| format!("profile '{}' was not saved", self.profile))
    }

    /// Saves what Bitbucket told about the owner of a token, for `status` and for the credential helper.
    pub(crate) fn save_owner(&self, owner: &Owner, bearer: &Bearer) {
        let tokens = self.tokens_without_request();
        let token = bearer.token.fingerprint();
        match owner {
            Owner::Account(account) => tokens.save_owner(Some(&account.shown()), &token),
            Owner::Refused => tokens.save_owner(None, &token),
            Owner::Untold(_) | Owner::NoScope(_) => tokens.forget_owner(),
        }
    }

    /// Saves that Bitbucket refused a token with this fingerprint as a password.
    pub(crate) fn save_refusal(&self, token: &str) {
        if self.must_know_owner() {
            self.tokens_without_request().save_owner(None, token);
        }
    }

    /// Tells whether a token is sent as the password of its owner, whose account failed attempts lock.
    pub(super) fn must_know_owner(&self) -> bool {
        let is_token = matches!(self.profile.grant, Grant::Token(_));
        is_token && self.profile.endpoints.product.facts().counts_failed_logins
    }

    /// Removes the saved data of a profile from this machine. Items that one of `others` also uses stay, unless
    /// `even_shared` is set.
    ///
    /// # Errors
    ///
    /// If something remains.
    pub(crate) fn forget_all(
        &self,
        others: &[Profile],
        even_shared: bool,
    ) -> anyhow::Result<Forgotten> {
        if let Some(cache) = places(&self.profile).cache {
            advertisement_cache::forget_all(&cache);
        }
        let tokens = self.tokens_at_store();
        tokens.forget_all(others, even_shared)
    }

    /// Gives a token for git's own transport, or for another program.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`].
    pub(crate) fn bearer(&self) -> anyhow::Result<Bearer> {
        let bearer = self.tokens().bearer(GIT_TRANSPORT_MARGIN);
        bearer.map_err(|error| under(self, error))
    }

    /// Gives a token instead of a refused one with this fingerprint; `None` if there is no other.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`].
    pub(crate) fn bearer_instead(&self, refused: &str) -> anyhow::Result<Option<Bearer>> {
        let mut tokens = self.tokens();
        let bearer = tokens.bearer(GIT_TRANSPORT_MARGIN);
        let bearer = bearer.map_err(|error| under(self, error))?;
        if bearer.token.fingerprint() != refused {
            return Ok(Some(bearer));
        }
        match tokens.refused()? {
            true => tokens.bearer(GIT_TRANSPORT_MARGIN).map(Some),
            false => Ok(None),
        }
    }

    /// Requests a new token even if one is cached, to prove that the grant works.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`].
    pub(crate) fn bearer_anew(&self) -> anyhow::Result<Bearer> {
        let bearer = self.tokens().bearer_anew();
        bearer.map_err(|error| under(self, error))
    }

    /// Says what the shared store lets this machine do, and reads the state of the login there.
    pub(crate) fn inspect_shared(
        &self,
    ) -> anyhow::Result<(Inspection, anyhow::Result<SharedState>)> {
        let tokens = self.tokens();
        Ok((tokens.inspect_shared()?, tokens.shared_state()))
    }

    /// Prepares a user's login: checks that the store can save it, then gives the request for consent.
    ///
    /// # Errors
    ///
    /// [`Kind::Misconfigured`] for a profile that needs no login, [`Kind::StoreUnusable`] if the store cannot save it.
    pub(crate) fn authorize(&self, redirect_uri: Option<&str>) -> anyhow::Result<Authorization> {
        let profile = &self.profile;
        let Grant::AuthorizationCode(client) = &profile.grant else {
            let message = format!(
                "profile '{profile}' gets its tokens without a login; to use one, set bbtoken.{profile}.grant to authorization-code"
            );
            return Err(Failure::new(Kind::Misconfigured, message).into());
        };
        let tokens = self.tokens();
        // Check first that the secret is there and that the store has space. Without them, a consent would be useless.
        tokens.client(client)?;
        tokens.prove_room()?;
        Authorization::new(
            &profile.endpoints.authorize,
            &client.id,
            redirect_uri,
            profile.scope.as_deref(),
        )
    }
}

/// Removes the remaining secrets of a store after the logout of all profiles. True if there were any.
///
/// # Errors
///
/// If something remains.
pub(crate) fn forget_rest(app: &App, store: Store) -> anyhow::Result<bool> {
    let Directories { cache, state } = git_config::directories(&process_variable);
    // The cache has its access tokens in files of the same kind.
    let directories = state.into_iter().chain(cache).collect();
    token::store::forget_rest(store, directories, app.no_questions.as_deref())
}

/// Releases the space in the store that was reserved for a login, because the login stops.
pub(crate) fn release_room(profile: &Profile) {
    token::release_room(profile, places(profile).state);
}

/// Adds the settings that the token request did not follow to the error of a request without a response.
fn under(identity: &Identity, error: anyhow::Error) -> anyhow::Error {
    let kind = match failure::kind(&error) {
        // A shared store is another server.
        Some(kind @ (Kind::Unreachable { host } | Kind::Untrusted { host, .. }))
            if identity.profile.endpoints.token.host_str() == Some(host) =>
        {
            kind.clone()
        }
        _ => return error,
    };
    let token_http = identity.token_http.as_ref();
    let git_only = &token_http.unwrap_or(&identity.http).git_only;
    let message = match &identity.unused_proxy {
        Some(proxy) => format!(
            "the token request does not use {}: it carries a secret, and a repository must not choose its proxy; if you trust the proxy, set it yourself: git config --global http.proxy <address>",
            quote(proxy)
        ),
        None if git_only.is_empty() => return error,
        None => format!(
            "cannot apply '{}' to the token request: only git's own transport supports this setting, and it does not request tokens",
            git_only.join("' and '")
        ),
    };
    error.context(Failure::new(kind, message))
}

/// Creates the `Authorization` header for a token.
pub(crate) struct TokenAuthorizer<'a> {
    tokens: Tokens<'a>,
    identity: &'a Identity,
    /// Ends the process if git ends while the helper waits for a token.
    watch: Option<&'a Watch>,
}

impl Authorizer for TokenAuthorizer<'_> {
    fn authorization(&mut self) -> anyhow::Result<Secret> {
        let _armed = self.watch.map(Watch::arm);
        let mut span = trace::span("token");
        span.note("profile", || self.identity().into());
        let bearer = self.tokens.bearer(Duration::ZERO);
        let bearer = bearer.map_err(|error| under(self.identity, error))?;
        Ok(self.product().authorization(&bearer.token))
    }

    fn refused(&mut self) -> anyhow::Result<bool> {
        let _armed = self.watch.map(Watch::arm);
        let is_replaced = self.tokens.refused()?;
        if !is_replaced && self.identity.must_know_owner() {
            // Do not send it as a password next.
            let refused = self.tokens.bearer(Duration::ZERO)?;
            self.identity.save_refusal(&refused.token.fingerprint());
        }
        Ok(is_replaced)
    }

    fn identity(&self) -> &str {
        &self.identity.profile.name
    }

    fn product(&self) -> Product {
        self.identity.profile.endpoints.product
    }

    fn renewal(&self) -> Option<Renewal> {
        let profile = &self.identity.profile;
        let Grant::Token(source) = &profile.grant else {
            return None;
        };
        let remedy = match source {
            Source::Stored => format!("make a new one and run 'git bbtoken login {profile}'"),
            Source::Given { variable, .. } => format!("make a new one and set {variable} to it"),
            Source::File(_) | Source::Command(_) => {
                "make a new one and save it where this profile reads it".to_owned()
            }
        };
        let stored = (*source == Source::Stored).then(|| profile.name.clone());
        Some(Renewal { remedy, stored })
    }
}
