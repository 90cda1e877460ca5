//! OAuth 2 as Bitbucket Cloud does it: consumers, codes, access and refresh tokens.

pub(crate) mod authorize;
mod consumer;
mod token;
pub(crate) mod token_endpoint;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

pub use consumer::Consumer;
pub(crate) use token::Token;
pub use token::{NewToken, RefreshUse, TokenKind};

use authorize::{Code, Request};
use token::RefreshToken;

use crate::random;
use crate::settings::Settings;

/// Everything the OAuth endpoints know. Secrets are kept by their fingerprints, except those of consumers.
#[derive(Default)]
pub(crate) struct Oauth {
    known: Mutex<Known>,
}

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) consumers: HashMap<String, Consumer>,
    pub(crate) tokens: HashMap<String, Token>,
    pub(crate) refresh_tokens: BTreeMap<String, RefreshToken>,
    pub(crate) codes: HashMap<String, Code>,
    /// Consent pages that wait for their button, by the random name in the form.
    requests: HashMap<String, Request>,
}

/// What a grant entitles to.
#[derive(Clone)]
pub(crate) struct Grant {
    /// The kind of its access tokens.
    pub(crate) kind: TokenKind,
    pub(crate) scopes: Vec<String>,
    pub(crate) consumer: Consumer,
    pub(crate) user: String,
    /// What all its tokens have in common.
    pub(crate) id: String,
}

impl Grant {
    pub(crate) fn new(
        kind: TokenKind,
        scopes: Vec<String>,
        consumer: Consumer,
        user: String,
    ) -> Self {
        Self {
            kind,
            scopes,
            consumer,
            user,
            id: random::alphanumeric(16),
        }
    }
}

impl Oauth {
    pub(crate) fn add_consumer(&self, consumer: Consumer) {
        self.known()
            .consumers
            .insert(consumer.key.clone(), consumer);
    }

    /// The token of this secret, if it is alive.
    pub(crate) fn token(&self, secret: &str, now_unix_s: u64) -> Option<Token> {
        let token = self
            .known()
            .tokens
            .get(&random::fingerprint(secret))
            .cloned()?;
        token.lives(now_unix_s).then_some(token)
    }

    pub(crate) fn revoke_tokens(&self) {
        self.known()
            .tokens
            .values_mut()
            .for_each(|token| token.revoked = true);
    }

    pub(crate) fn revoke_refresh_tokens(&self) {
        self.known()
            .refresh_tokens
            .values_mut()
            .for_each(|token| token.revoked = true);
    }

    pub(crate) fn refresh_uses(&self) -> Vec<RefreshUse> {
        self.known()
            .refresh_tokens
            .iter()
            .map(|(fingerprint, token)| token.shown(fingerprint))
            .collect()
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("because no thread panics while it holds the tokens")
    }
}

impl Known {
    /// Makes the token of this secret good.
    pub(crate) fn issue(&mut self, secret: String, token: Token) -> String {
        self.tokens.insert(random::fingerprint(&secret), token);
        secret
    }

    pub(crate) fn issue_access(
        &mut self,
        grant: &Grant,
        now_unix_s: u64,
        settings: &Settings,
    ) -> String {
        let token = Token {
            kind: grant.kind,
            scopes: grant.scopes.clone(),
            user: grant.user.clone(),
            grant: Some(grant.id.clone()),
            workspaces: grant.consumer.workspaces.clone(),
            expires_at_unix_s: Some(now_unix_s + settings.access_token_lifetime_s),
            revoked: false,
        };
        self.issue(token.kind.secret(), token)
    }

    pub(crate) fn issue_refresh(
        &mut self,
        grant: &Grant,
        now_unix_s: u64,
        settings: &Settings,
    ) -> String {
        let secret = TokenKind::Access.secret();
        let token = RefreshToken::new(grant.clone(), now_unix_s + settings.refresh_lifetime_s);
        self.refresh_tokens
            .insert(random::fingerprint(&secret), token);
        secret
    }
}
