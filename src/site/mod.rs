//! What differs between Bitbucket Cloud and Bitbucket Data Center. Only this room knows which one it is.
//!
//! The setting `kind` of a profile decides. The helper never guesses it.

mod account;
mod cloud;
mod data_center;
mod health;
mod pages;

use std::ops::Deref;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    address::{Address, Grammar},
    failure::{Kind, Renewal},
    http::Url,
    secret::Secret,
};

pub(crate) use account::{Account, Owner, Told};
pub(crate) use health::{Examined, Health, Reply, Sent, Subject};

/// A kind of Bitbucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Bitbucket Cloud.
    Cloud,
    /// Bitbucket Data Center, or the older Bitbucket Server.
    DataCenter,
}

impl Product {
    /// The values of `kind`. The first is the default.
    pub(crate) const CHOICES: [(&'static str, Self); 2] = [
        ("cloud", Product::Cloud),
        ("datacenter", Product::DataCenter),
    ];

    /// Gives its value of `kind`.
    pub(crate) fn name(self) -> &'static str {
        let mut choices = Self::CHOICES.into_iter();
        let found = choices.find(|(_, product)| *product == self);
        found.map_or("", |(name, _)| name)
    }
}

impl Deref for Product {
    type Target = dyn Site;

    fn deref(&self) -> &Self::Target {
        match self {
            Product::Cloud => &cloud::Cloud,
            Product::DataCenter => &data_center::DataCenter,
        }
    }
}

/// The differences.
pub trait Site: Sync {
    /// Gives the forms of its addresses.
    fn grammar(&self) -> &'static dyn Grammar;
    /// Tells whether its base URL is the same for everyone.
    fn has_usual_base(&self) -> bool;
    /// Gives the path of all repositories below the base URL, with a slash at the end if there is one.
    fn git_path(&self) -> &'static str;
    /// Gives the path of a repository below the base URL, with one `.git`.
    fn repository_path(&self, address: &Address) -> String {
        format!("{}{address}.git", self.git_path())
    }
    /// Gives what its other addresses begin with: those of ssh, and of other names of its host. The repository follows.
    fn other_starts(&self, base: &Url, ssh_host: Option<&str>) -> Vec<String>;
    /// Gives the command that logs in to it.
    fn login(&self) -> &'static str {
        match self.has_usual_base() {
            true => "git bbtoken login <profile>",
            false => "git bbtoken login <profile> --data-center <url>",
        }
    }
    /// Gives the usual paths of the token and the authorization endpoint below the base URL.
    fn oauth_paths(&self) -> [&'static str; 2];
    /// Gives the OAuth scopes that a token request names if no setting names any.
    fn scope(&self) -> Option<&'static str>;
    /// Tells whether a client authenticates in the body of a token request (RFC 6749 section 2.3.1).
    fn has_clients_in_body(&self) -> bool;
    /// Tells whether a refresh ends the earlier tokens at once: the access token, which another command may be using, and
    /// the refresh token.
    fn has_one_token_per_login(&self) -> bool;
    /// Tells whether the redirect URI of a login must be exactly one that was registered.
    fn has_fixed_redirects(&self) -> bool;
    /// Makes the `Authorization` header of a git request.
    fn authorization(&self, token: &Secret) -> Secret;
    /// Gives the user name beside a token, for programs that send passwords only. `owner` is the account of a token that
    /// the user provides.
    fn user(&self, token: &Secret, owner: Option<&str>) -> String;
    /// Tells whether a wrong password counts against the account that stands beside it.
    fn counts_failed_logins(&self) -> bool;
    /// Says why a token is not one of this site.
    fn is_foreign(&self, token: &str) -> Option<&'static str>;
    /// Finds the meaning of an error status of the git server.
    fn meaning(&self, answer: Answer<'_>) -> Kind;
    /// Finds the meaning of an `ERR ` message of the git server.
    fn meaning_of_words(&self, said: &str, address: &str) -> Kind;
    /// Says what to do about a redirect to another host.
    fn on_redirect(&self) -> Kind;
    /// Tells whether scopes let a token push.
    fn may_push(&self, scope: &str) -> bool;
    /// Gives the URL that tells whose a token is.
    fn account_url(&self, base: &Url) -> String;
    /// Makes the `Authorization` header for that URL. `None` if it needs the account's e-mail address.
    fn account_authorization(&self, token: &Secret, account: &str) -> Option<Secret>;
    /// Reads its response.
    fn owner(&self, told: Told<'_>) -> Owner;
    /// Says why the URL does not tell whose a user's token is, if it has these scopes.
    fn no_account_with(&self, scopes: &[String]) -> Option<&'static str>;
    /// Asks the site for causes of problems.
    fn examine(&self, subject: &Subject<'_>) -> Vec<Examined>;
    /// Gives the words for people.
    fn words(&self) -> &'static Words;
    /// Says how to create a token.
    fn steps_to_a_token(&self, base: &Url) -> Vec<String>;
    /// Says how to create an OAuth client.
    fn steps_to_a_client(
        &self,
        base: &Url,
        workspace: Option<&str>,
        is_for_people: bool,
    ) -> Vec<String>;
}

/// The words for people that differ.
#[derive(Debug)]
pub struct Words {
    /// The kinds of login: a token, a browser, a client.
    pub logins: [&'static str; 3],
    /// The product.
    pub name: &'static str,
    /// What to do about a server that does not answer.
    pub outage: &'static str,
    /// What contains repositories.
    pub space: &'static str,
    /// An OAuth client, and where it is.
    pub client: &'static str,
    /// What acts with a token of a client, and the question for the client's id.
    pub client_itself: [&'static str; 2],
    /// Why Bitbucket does not name an account for a token of a client.
    pub no_client_account: Option<&'static str>,
    /// The names of a client's id and secret.
    pub pair: &'static str,
    /// How long an authorization code is valid, if the user must hurry.
    pub hurry: Option<&'static str>,
    /// What a refused authorization code means.
    pub code_refused: &'static str,
    /// What to do about a redirect URI that the client does not have.
    pub redirect: &'static str,
    /// The hint for a secret that is no token of this site.
    pub no_token: &'static str,
    /// Why Bitbucket does not name the account of a token that a login tries.
    pub token_refused: &'static str,
    /// Where to revoke the secret of each kind of login. `{base}` is the base URL.
    pub revoke: [&'static str; 3],
    /// How a token of a login gets the right to push.
    pub login_may_push: &'static str,
    /// How a user's own token gets the right to push.
    pub token_may_push: &'static str,
}

/// An error status of the git server.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The server's host.
    pub host: &'a str,
    /// The server's message, in lower case.
    pub said: String,
    /// Whether the message is an HTML page.
    pub is_page: bool,
    /// Whether git wants to push.
    pub is_push: bool,
    /// The repository's address.
    pub address: &'a str,
    /// How to replace a refused token.
    pub renewal: Option<Renewal>,
}

impl Answer<'_> {
    fn speaks_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.said.contains(word))
    }

    /// The meaning of a status at any site.
    fn usual(self) -> Kind {
        let host = self.host.to_owned();
        match self.status {
            401 | 404 => Kind::AccessRefused {
                address: self.address.to_owned(),
                renewal: self.renewal.filter(|_| self.status == 401),
            },
            407 => Kind::Unreachable { host },
            413 if self.is_push => Kind::TooLarge,
            429 | 503 => Kind::Busy,
            500.. => Kind::ServerFailed { host },
            _ => Kind::Refused,
        }
    }
}

/// Makes the kind of a refusal with its own hint.
fn refused(remedy: &str) -> Kind {
    Kind::SiteRefused {
        remedy: remedy.to_owned(),
    }
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}

/// Makes the `Authorization` header of a password.
pub(crate) fn basic(user: &str, token: &Secret) -> Secret {
    let pair = Secret::new(format!("{user}:{}", token.expose()));
    Secret::new(format!("Basic {}", BASE64.encode(pair.expose())))
}
