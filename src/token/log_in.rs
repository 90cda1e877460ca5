//! A person's login: from the code of the consent to the saved refresh token.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{
    Bearer, Tokens, busy::Repeat, cache::Entry, explain::explain, journal::Journal, refresh, store,
};
use crate::{http::PATIENCE, oauth, profile::Profile, secret::Secret};

/// Asks a person whether a login is to be kept, by its token and scopes; an error keeps nothing.
pub(crate) type Accept<'a> = Box<dyn FnOnce(&Bearer, &[String]) -> anyhow::Result<()> + 'a>;

/// Releases the place in the store that a login was to take, because the login is stopped.
pub(crate) fn release_room(profile: &Profile, state: Option<PathBuf>) {
    if let Ok(store) = store::open(profile.store, state, profile.no_questions.as_deref()) {
        store.release(&profile.login_key());
    }
}

impl Tokens<'_> {
    /// Makes sure that a login could be kept, and leaves nothing there: nobody knows whether one will come about.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`].
    pub fn prove_room(&self) -> anyhow::Result<()> {
        let (store, key) = (self.store()?, self.profile.login_key());
        store.reserve(&key)?;
        store.release(&key);
        Ok(())
    }

    /// Exchanges the code of a person's consent, and keeps the login. Where a person may refuse it, `accept` asks, while
    /// nothing is locked and nothing is there that a signal would leave.
    ///
    /// # Errors
    ///
    /// When the token endpoint or `accept` refuses, or [`Kind::StoreUnusable`] when the login cannot be kept.
    pub fn log_in(
        &self,
        authorization: &oauth::Authorization,
        code: &Secret,
        accept: Option<Accept<'_>>,
    ) -> anyhow::Result<()> {
        let profile = self.profile;
        let client = profile.client().context("the profile has no client")?;
        let client = self.client(client)?;
        let key = profile.login_key();
        // Without a lock a refresh under way may be kept after this, which the person then sees and repeats.
        let mut lock = Some(self.lock(&key));
        let (store, http) = (self.store()?, self.http.client()?);
        store.reserve(&key)?;
        let answer = self
            .patiently(PATIENCE, Repeat::Spends, || {
                client.authorization_code(http, self.clock, authorization, code)
            })
            .inspect_err(|_| store.release(&key))
            .map_err(|error| explain(error, profile))?;
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
                (self.notify)(
                    "Bitbucket gave no refresh token: this login ends with its first access token",
                );
            }
        }
        Journal::at(self.places.state.clone(), &key).end();
        // It may be another person's from now on.
        self.keep_owner(None);
        if let Some((cache, key)) = self.cache()
            && let Err(error) = cache.write(&key, &Entry::of(answer))
        {
            // It may be that of another account.
            cache.remove(&key);
            self.tell_unsaved(&error);
        }
        drop(lock);
        Ok(())
    }
}
