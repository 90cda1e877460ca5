//! The record that machines share: client, login, access token, and the claim of the machine that renews it.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::interface::RESERVED;
use crate::{
    oauth::{self, TokenAnswer},
    profile::{Grant, Profile},
    secret::{Secret, hex_digest},
    token::{client::client, format},
};

/// A shared login or client. Times are those of the store.
///
/// A part that cannot be read makes the whole record unusable: a lost claim or token would cost the login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) client_id: String,
    /// `None` in a copy for jobs, which has the access token only.
    #[serde(serialize_with = "format::expose")]
    pub(super) client_secret: Option<Secret>,
    /// A digest of client and endpoints. A record never says where its secrets go, so they cannot be sent elsewhere.
    #[serde(rename = "for")]
    pub(super) purpose: String,
    /// `None` for a client that gets tokens for itself, and in a copy.
    #[serde(serialize_with = "format::expose")]
    pub(super) refresh_token: Option<Secret>,
    /// The name of the account that logged in, if Bitbucket named it.
    pub(super) owner: Option<String>,
    pub(super) access: Option<Access>,
    pub(super) claim: Option<Claim>,
    pub(super) failed: Option<Failed>,
    /// The fingerprint of a refresh token that Bitbucket refused.
    pub(super) dead: Option<String>,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Access {
    #[serde(serialize_with = "format::expose")]
    pub(super) token: Secret,
    pub(super) lifetime_s: u64,
    pub(super) got_at_unix_s: u64,
    pub(super) expires_at_unix_s: u64,
    pub(super) scopes: Vec<String>,
    /// The machine that got it.
    pub(super) by: String,
}

/// A machine's note that it renews the token now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// A random name, different for each command.
    pub(super) nonce: String,
    /// The machine, for messages.
    pub(super) host: String,
    pub(super) at_unix_s: u64,
    /// How many machines have claimed this refresh token, this one included.
    pub(super) number: u64,
    /// Whether the machine has given up. The refresh token may have been used, so the next machine repeats the exchange.
    pub(super) has_given_up: bool,
}

/// The last failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) at_unix_s: u64,
    pub(super) host: String,
    pub(super) why: String,
    pub(super) cause: Cause,
    /// The pause that Bitbucket asked for; 0 if it asked for none.
    pub(super) pause_s: u64,
}

/// The cause of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cause {
    /// Bitbucket refused the client.
    Client,
    /// The machine had no connection to Bitbucket. Other machines may have one.
    Connection,
    /// Bitbucket was busy, or its response was unusable.
    Server,
}

/// Gives this machine's name, for messages.
#[cfg(unix)]
pub(super) fn machine() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Gives this machine's name, for messages.
#[cfg(not(unix))]
pub(super) fn machine() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "this machine".into())
}

/// Gives the purpose of a record for a client of a profile's Bitbucket.
pub(crate) fn purpose(profile: &Profile, client_id: &str) -> String {
    let endpoints = &profile.endpoints;
    let parts = [client_id, endpoints.token.as_str(), endpoints.base.as_str()];
    hex_digest(parts.join("\n").as_bytes())[..32].to_owned()
}

impl Access {
    /// Makes the record's token from a response.
    pub(super) fn of(answer: &TokenAnswer, asked_at_unix_s: u64, host: &str) -> Self {
        Access {
            token: answer.access_token.clone(),
            lifetime_s: answer.lifetime_s,
            got_at_unix_s: asked_at_unix_s,
            expires_at_unix_s: asked_at_unix_s.saturating_add(answer.lifetime_s),
            scopes: answer.scopes.clone(),
            by: host.to_owned(),
        }
    }
}

impl Record {
    /// Starts the record of a client, without a token.
    pub(super) fn new(profile: &Profile, client: &oauth::Client) -> Self {
        Record {
            client_id: client.id.clone(),
            client_secret: Some(client.secret.clone()),
            purpose: purpose(profile, &client.id),
            ..Record::default()
        }
    }

    /// Gives a copy for jobs, with the access token only.
    pub(super) fn copy(&self) -> Self {
        Record {
            client_id: self.client_id.clone(),
            purpose: self.purpose.clone(),
            access: self.access.clone(),
            ..Record::default()
        }
    }

    /// Tells whether it is for this profile: for its Bitbucket, and for its client if the settings name one.
    pub(super) fn is_for(&self, profile: &Profile) -> bool {
        let is_client = match &profile.grant {
            Grant::Shared(Some(id)) => *id == self.client_id,
            _ => true,
        };
        is_client && self.purpose == purpose(profile, &self.client_id)
    }

    /// Tells whether this is its token.
    pub(super) fn has(&self, access: &Access) -> bool {
        let own = self.access.as_ref();
        own.is_some_and(|own| own.token == access.token)
    }

    /// Tells whether it has the same client, login and token.
    pub(super) fn is_same_login(&self, other: &Self) -> bool {
        (&self.client_id, &self.client_secret) == (&other.client_id, &other.client_secret)
            && (&self.refresh_token, &self.access) == (&other.refresh_token, &other.access)
    }

    /// Tells whether its token was requested later.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        let got_at = |record: &Self| record.access.as_ref().map(|access| access.got_at_unix_s);
        got_at(self) > got_at(other)
    }

    /// Gives its client. `None` in a copy, which cannot be renewed.
    pub(super) fn client(&self, profile: &Profile) -> Option<oauth::Client> {
        let secret = self.client_secret.clone()?;
        Some(client(profile, &self.client_id, secret))
    }

    /// Tells whether Bitbucket has refused its refresh token.
    pub(super) fn is_dead(&self) -> bool {
        let token = self.refresh_token.as_ref().map(Secret::fingerprint);
        token.is_some() && self.dead == token
    }

    /// Formats it for a store.
    pub(super) fn render(&self) -> Secret {
        Secret::new(format::render(self).to_string())
    }

    /// Formats it with at least so many bytes. The next write leaves out what was added.
    pub(super) fn with_room(&self, bytes: usize) -> Secret {
        let mut record = format::render(self);
        let room = bytes.saturating_sub(record.to_string().len());
        record[RESERVED] = json!("x".repeat(room));
        Secret::new(record.to_string())
    }

    /// Parses a record. `None` if it is not one of this version, or a secret in it has no form of one.
    pub(super) fn parse(text: &Secret) -> Option<Self> {
        let record: Self = format::parse(text)?;
        let tokens = record.access.iter().map(|access| &access.token);
        let secrets = [&record.client_secret, &record.refresh_token];
        let is_usable = secrets.into_iter().flatten().chain(tokens).all(is_graphic);
        is_usable.then_some(record)
    }
}

/// RFC 6749 appendix A. A line end would inject a field into git's credential protocol.
fn is_graphic(secret: &Secret) -> bool {
    !secret.is_empty() && secret.expose().bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn record() -> Record {
        Record {
            client_id: "key".into(),
            client_secret: Some(Secret::new("secret")),
            purpose: "0123".into(),
            refresh_token: Some(Secret::new("r1")),
            owner: Some("Build Bot (bot)".into()),
            access: Some(Access {
                token: Secret::new("t1"),
                lifetime_s: 7_200,
                got_at_unix_s: 1_000,
                expires_at_unix_s: 8_200,
                scopes: vec!["repository".into()],
                by: "runner-1".into(),
            }),
            claim: Some(Claim {
                nonce: "n".into(),
                host: "runner-2".into(),
                at_unix_s: 2_000,
                number: 1,
                has_given_up: false,
            }),
            failed: Some(Failed {
                at_unix_s: 1_500,
                host: "runner-3".into(),
                why: "busy".into(),
                cause: Cause::Server,
                pause_s: 120,
            }),
            dead: Some("01234567".into()),
        }
    }

    #[test]
    fn a_part_that_cannot_be_read_makes_the_record_unusable() {
        assert_eq!(Record::parse(&record().render()), Some(record()));
        assert_eq!(Record::parse(&record().with_room(9_000)), Some(record()));
        let whole: Value = serde_json::from_str(record().render().expose()).expect("it is JSON");
        let mut tried = 0;
        for name in [
            "version",
            "client_id",
            "client_secret",
            "for",
            "refresh_token",
            "owner",
            "access",
            "claim",
            "failed",
            "dead",
        ] {
            let mut broken = whole.clone();
            broken[name] = json!([7]);
            assert_eq!(
                Record::parse(&Secret::new(broken.to_string())),
                None,
                "{name}"
            );
            tried += 1;
        }
        assert_eq!(tried, 10);
        for text in ["", "t\nquit=1", "t t", "t\u{e4}"] {
            for path in ["/client_secret", "/refresh_token", "/access/token"] {
                let mut broken = whole.clone();
                *broken.pointer_mut(path).expect("it is there") = json!(text);
                let found = Record::parse(&Secret::new(broken.to_string()));
                assert_eq!(found, None, "{path} {text:?}");
            }
        }
    }

    #[test]
    fn any_text_is_a_record_that_is_written_back_unchanged_or_none() {
        let real = record().render();
        let small =
            r#"{"version":1,"client_id":"","client_secret":"","for":"","refresh_token":null}"#;
        crate::inside::fuzz::check_text(&[real.expose(), small], |text| {
            if let Some(record) = Record::parse(&Secret::new(text)) {
                assert_eq!(Record::parse(&record.render()), Some(record));
            }
        });
    }
}
