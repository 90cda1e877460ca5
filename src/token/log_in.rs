//! A user's login, from the authorization code to the saved refresh token.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{
    bearer::Bearer, busy::Repeat, cache::Entry, explain::explain, refresh, store, tokens::Tokens,
};
use crate::{
    failure::{Failure, Kind},
    http::{HttpClient, PATIENCE},
    oauth,
    profile::Profile,
    secret::Secret,
};

/// Asks the user whether to save a login, by its token and scopes. Gives the name of its owner, if it is known. On an
/// error, nothing is saved.
pub(crate) type Accept<'a> =
    Box<dyn FnOnce(&Bearer, &[String]) -> anyhow::Result<Option<String>> + 'a>;

/// Releases the space that was reserved for a login, because the login stops.
pub(crate) fn release_room(profile: &Profile, state: Option<PathBuf>) {
    if let Ok(store) = store::open(profile, state) {
        store.release(&profile.login_key());
    }
}

impl Tokens<'_> {
    /// Checks that the store can save a login, and leaves nothing there.
    ///
    /// # Errors
    ///
    /// [`StoreUnusable`](crate::failure::Kind::StoreUnusable).
    pub(crate) fn prove_room(&self) -> anyhow::Result<()> {
        if self.profile.shared.is_some() {
            return self.prove_shared_room();
        }
        let (store, key) = (self.store()?, self.profile.login_key());
        store.reserve(&key)?;
        store.release(&key);
        Ok(())
    }

    /// Exchanges the authorization code and saves the login.
    ///
    /// `accept` asks the user first, if set. At that time, nothing is locked, and no file exists that a signal would
    /// leave.
    ///
    /// # Errors
    ///
    /// If the token endpoint or `accept` refuses, or the login cannot be saved
    /// ([`StoreUnusable`](crate::failure::Kind::StoreUnusable)).
    pub(crate) fn log_in(
        &self,
        authorization: &oauth::Authorization,
        code: &Secret,
        accept: Option<Accept<'_>>,
    ) -> anyhow::Result<()> {
        let profile = self.profile;
        let client = profile.client().context("the profile has no client")?;
        let client = self.client(client)?;
        if profile.shared.is_some() {
            return self.log_in_for_all(&client, authorization, code, accept);
        }
        let key = profile.login_key();
        // Without a lock, a running refresh may overwrite this login. The user then sees that and logs in again.
        let mut lock = Some(self.lock(&key));
        let (store, http) = (self.store()?, self.http.client()?);
        store.reserve(&key)?;
        let answer = self
            .exchange(&client, http, authorization, code)
            .inspect_err(|_| store.release(&key))?;
        if let Some(accept) = accept {
            store.release(&key);
            drop(lock.take());
            accept(
                &Bearer::new(answer.access_token.clone(), None),
                &answer.scopes,
            )?;
            lock = Some(self.lock(&key));
            store.reserve(&key)?;
        }
        match refresh::first_login(&answer, self.clock.now_unix_s()) {
            Some(login) => store.save(&key, &login.to_record())?,
            None => {
                store.release(&key);
                (self.warn)(
                    "Bitbucket returned no refresh token: this login ends when its access token expires",
                );
            }
        }
        self.refresh(store.as_ref()).end_notes();
        // The login may belong to another user from now on.
        self.forget_owner();
        if let Some((cache, key)) = self.cache()
            && let Err(error) = cache.write(&key, &Entry::of(answer))
        {
            // The cached token may belong to another account.
            cache.remove(&key);
            self.tell_unsaved(&error);
        }
        drop(lock);
        Ok(())
    }

    /// Exchanges the authorization code, and shares the login with other machines.
    fn log_in_for_all(
        &self,
        client: &oauth::Client,
        authorization: &oauth::Authorization,
        code: &Secret,
        accept: Option<Accept<'_>>,
    ) -> anyhow::Result<()> {
        let answer = self.exchange(client, self.http.client()?, authorization, code)?;
        let bearer = Bearer::new(answer.access_token.clone(), None);
        let owner = accept.map(|accept| accept(&bearer, &answer.scopes));
        let owner = owner.transpose()?.flatten();
        if answer.refresh_token.is_none() {
            let message =
                "Bitbucket returned no refresh token, so other machines could not renew this login";
            return Err(Failure::new(Kind::Refused, message).into());
        }
        self.publish(client, Some((&answer, owner)))
    }

    fn exchange(
        &self,
        client: &oauth::Client,
        http: &dyn HttpClient,
        authorization: &oauth::Authorization,
        code: &Secret,
    ) -> anyhow::Result<oauth::TokenAnswer> {
        self.with_retries(PATIENCE, Repeat::Spends, || {
            client.authorization_code(http, self.clock, authorization, code)
        })
        .map_err(|error| explain(error, self.profile, client, true))
    }
}
