//! OAuth 2 as Bitbucket Cloud does it: consumers, codes, access and refresh tokens.

pub(crate) mod authorize;
mod consumer;
mod token;
pub(crate) mod token_endpoint;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

pub use consumer::Consumer;
pub(crate) use token::Token;
pub use token::{RefreshUse, TokenKind};

use authorize::{Code, Request};
use token::RefreshToken;

use crate::random;
use crate::settings::Settings;

/// Bytes behind an OAuth token: 2,536 characters, two of them `=`.
const TOKEN_BYTES: usize = 1_900;

/// Everything the OAuth endpoints know. Secrets are kept by their fingerprints, except those of consumers.
#[derive(Default)]
pub(crate) struct Oauth {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    consumers: HashMap<String, Consumer>,
    tokens: HashMap<String, Token>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    codes: HashMap<String, Code>,
    /// Consent pages that wait for their button, by the random name in the form.
    requests: HashMap<String, Request>,
}

/// What a grant entitles to.
#[derive(Clone)]
struct Grant {
    consumer: Consumer,
    scopes: Vec<String>,
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

    /// Issues a ready token; `lifetime_s` counts from `now_unix_s`, `None` is for ever.
    pub(crate) fn issue(
        &self,
        kind: TokenKind,
        scopes: &[&str],
        now_unix_s: u64,
        lifetime_s: Option<u64>,
    ) -> String {
        let expires_at_unix_s = lifetime_s.map(|lifetime_s| now_unix_s + lifetime_s);
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.known().issue(Token {
            kind,
            scopes,
            workspaces: None,
            expires_at_unix_s,
            revoked: false,
        })
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

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("because no thread panics while it holds the tokens")
    }
}

impl Known {
    fn issue(&mut self, token: Token) -> String {
        let secret = match token.kind {
            TokenKind::Access => random::url_safe(TOKEN_BYTES),
            TokenKind::Api => format!(
                "ATATT3xFfGF0{}={}",
                random::alphanumeric(171),
                random::alphanumeric(8)
            ),
            TokenKind::Resource => format!(
                "ATCTT3xFfGN0{}={}",
                random::alphanumeric(171),
                random::alphanumeric(8)
            ),
        };
        self.tokens.insert(random::fingerprint(&secret), token);
        secret
    }

    fn issue_access(&mut self, grant: &Grant, now_unix_s: u64, settings: &Settings) -> String {
        self.issue(Token {
            kind: TokenKind::Access,
            scopes: grant.scopes.clone(),
            workspaces: grant.consumer.workspaces.clone(),
            expires_at_unix_s: Some(now_unix_s + settings.access_token_lifetime_s),
            revoked: false,
        })
    }

    fn issue_refresh(&mut self, grant: &Grant, now_unix_s: u64, settings: &Settings) -> String {
        let secret = random::url_safe(TOKEN_BYTES);
        let token = RefreshToken::new(grant.clone(), now_unix_s + settings.refresh_lifetime_s);
        self.refresh_tokens
            .insert(random::fingerprint(&secret), token);
        secret
    }
}
