//! Gives a token to the command, and replaces one that the server refused.

use std::time::Duration;

use anyhow::Context as _;

use super::{
    bearer::{Bearer, Current},
    cache::Cached,
    check,
    lock::LockOutcome,
    obtain::TokenRequest,
    source,
    tokens::Tokens,
};
use crate::{
    failure::{Failure, Kind},
    profile::{Grant, Source},
    secret::Secret,
};

impl Tokens<'_> {
    /// Gives a token that is valid for at least `margin`.
    ///
    /// # Errors
    ///
    /// If the profile's grant gives no token. The kind decides the hint.
    pub(crate) fn bearer(&mut self, margin: Duration) -> anyhow::Result<Bearer> {
        if let Some(current) = &self.current {
            return Ok(current.bearer.clone());
        }
        let current = match &self.profile.grant {
            Grant::Token(source) => self.provided(source)?,
            Grant::ClientCredentials(_) => match self.cached(margin) {
                Some(current) => current,
                None => self.obtain(&TokenRequest::of(margin))?,
            },
            Grant::Shared(_) => self.of_record(margin)?,
            Grant::AuthorizationCode(_) => self.of_login(margin)?,
        };
        Ok(self.current.insert(current).bearer.clone())
    }

    /// Reports that the server refused the current token. True if there is a new token.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`].
    pub(crate) fn refused(&mut self) -> anyhow::Result<bool> {
        let Some(refused) = self.current.take() else {
            return Ok(false);
        };
        let profile = self.profile;
        let again = !refused.is_new && !std::mem::replace(&mut self.replaced, true);
        let next = match &profile.grant {
            _ if !again => None,
            // Its file or command may have a new token by now.
            Grant::Token(source) => Some(self.provided(source)?),
            _ => {
                let request = TokenRequest {
                    refused: Some(&refused.bearer.token),
                    ..TokenRequest::of(Duration::ZERO)
                };
                Some(self.obtain(&request)?)
            }
        };
        let next = next.filter(|next| next.bearer.token != refused.bearer.token);
        let found = next.is_some();
        self.current = Some(next.unwrap_or(refused));
        Ok(found)
    }

    /// Removes a token that the server refused in another program, unless it was replaced already. True if it was
    /// cached.
    pub(crate) fn forget(&mut self, token: &Secret) -> bool {
        if let Some((cache, key)) = self.cache()
            && let Ok(LockOutcome::Ours(_lock)) = self.lock(&key)
            && matches!(cache.read(&key), Cached::Token(entry) if entry.access_token == *token)
        {
            cache.remove(&key);
            return true;
        }
        false
    }

    /// Reads an access token or API token that the user provides, from the store if it is there.
    fn provided(&self, source: &Source) -> anyhow::Result<Current> {
        let profile = self.profile;
        let key = profile.token_key();
        let token = match source {
            Source::Stored => self.store()?.load(&key)?.ok_or_else(|| {
                let kind = Kind::LoginNeeded {
                    profile: profile.name.clone(),
                };
                let place = self.looked_in(&key);
                Failure::new(
                    kind,
                    format!("no token is stored for profile '{profile}'{place}"),
                )
            })?,
            source => source::read(source)
                .with_context(|| format!("cannot read the access token of profile '{profile}'"))?,
        };
        check::check_token(&token, profile)?;
        Ok(Current {
            bearer: Bearer::new(token, None),
            is_new: false,
        })
    }
}
