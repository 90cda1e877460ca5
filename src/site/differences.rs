//! What each kind of Bitbucket must say and do in its own way.

use super::{
    account::Owner,
    answer::Answer,
    health::{Examined, Reply, Subject},
};
use crate::{
    address::{Address, Grammar},
    failure::Kind,
    secret::Secret,
    url::Url,
};

/// The differences.
pub(crate) trait Site: Sync {
    /// Gives what is constant.
    fn facts(&self) -> &'static Facts;
    /// Gives the words for people.
    fn words(&self) -> &'static Words {
        &self.facts().words
    }
    /// Gives the path of a repository below the base URL, with one `.git`.
    fn repository_path(&self, address: &Address) -> String {
        format!("{}{address}.git", self.facts().git_path)
    }
    /// Gives what its other addresses begin with: those of ssh, and of other names of its host. The repository follows.
    fn other_starts(&self, base: &Url, ssh_host: Option<&str>) -> Vec<String>;
    /// Gives the command that logs in to it.
    fn login(&self) -> &'static str {
        match self.facts().has_usual_base {
            true => "git bbtoken login <profile>",
            false => "git bbtoken login <profile> --data-center <url>",
        }
    }
    /// Makes the `Authorization` header of a git request.
    fn authorization(&self, token: &Secret) -> Secret;
    /// Gives the user name beside a token, for programs that send passwords only. `owner` is the account of a token that
    /// the user provides.
    fn user<'o>(&self, token: &Secret, owner: Option<&'o str>) -> &'o str;
    /// Finds the meaning of an error status of the git server.
    fn meaning(&self, answer: Answer<'_>) -> Kind;
    /// Finds the meaning of an `ERR ` message of the git server.
    fn meaning_of_words(&self, said: &str, address: &str) -> Kind;
    /// Says what to do about a redirect to another host.
    fn on_redirect(&self) -> Kind;
    /// Gives the URL that tells whose a token is.
    fn account_url(&self, base: &Url) -> String;
    /// Makes the `Authorization` header for that URL. `None` if it needs the account's e-mail address.
    fn account_authorization(&self, token: &Secret, account: &str) -> Option<Secret>;
    /// Reads its response.
    fn owner(&self, reply: &Reply) -> Owner;
    /// Asks the site for causes of problems.
    fn examine(&self, subject: &Subject<'_>) -> Vec<Examined>;
}

/// The constants that differ.
pub(crate) struct Facts {
    /// The forms of its addresses.
    pub(crate) grammar: &'static dyn Grammar,
    /// Whether its base URL is the same for everyone.
    pub(crate) has_usual_base: bool,
    /// The path of all repositories below the base URL, with a slash at the end if there is one.
    pub(crate) git_path: &'static str,
    /// The usual paths of the token and the authorization endpoint below the base URL.
    pub(crate) oauth_paths: [&'static str; 2],
    /// The OAuth scopes that a token request names if no setting names any.
    pub(crate) scope: Option<&'static str>,
    /// Whether a client authenticates in the body of a token request (RFC 6749 section 2.3.1).
    pub(crate) has_clients_in_body: bool,
    /// Whether a refresh ends the earlier tokens at once: the access token, which another command may be using, and the
    /// refresh token.
    pub(crate) has_one_token_per_login: bool,
    /// Whether the redirect URI of a login must be exactly one that was registered.
    pub(crate) has_fixed_redirects: bool,
    /// Whether a wrong password counts against the account that stands beside it.
    pub(crate) counts_failed_logins: bool,
    /// What the tokens of the other kind of Bitbucket start with.
    pub(crate) foreign_tokens: &'static [&'static str],
    /// The scopes of which one lets a token push.
    pub(crate) push_scopes: &'static [&'static str],
    /// The scopes of which one lets a token of a login tell its account.
    pub(crate) account_scopes: &'static [&'static str],
    /// The words for people.
    pub(crate) words: Words,
}

/// The words for people that differ.
#[derive(Debug)]
pub(crate) struct Words {
    /// The kinds of login: a token, a browser, a client.
    pub(crate) logins: [&'static str; 3],
    /// The product.
    pub(crate) name: &'static str,
    /// What to do about a server that does not answer.
    pub(crate) outage: &'static str,
    /// What contains repositories.
    pub(crate) space: &'static str,
    /// An OAuth client, and where it is.
    pub(crate) client: &'static str,
    /// What acts with a token of a client, and the question for the client's id.
    pub(crate) client_itself: [&'static str; 2],
    /// Why Bitbucket does not name an account for a token of a client.
    pub(crate) no_client_account: Option<&'static str>,
    /// The names of a client's id and secret.
    pub(crate) pair: &'static str,
    /// How long an authorization code is valid, if the user must hurry.
    pub(crate) hurry: Option<&'static str>,
    /// What a refused authorization code means.
    pub(crate) code_refused: &'static str,
    /// What to do about a redirect URI that the client does not have.
    pub(crate) redirect: &'static str,
    /// Why Bitbucket does not name the account for a login's token without such a scope, if it needs one.
    pub(crate) no_account_scope: Option<&'static str>,
    /// What is wrong with a token of the other kind of Bitbucket.
    pub(crate) foreign_token: &'static str,
    /// The hint for a secret that is no token of this site.
    pub(crate) no_token: &'static str,
    /// Why Bitbucket does not name the account of a token that a login tries.
    pub(crate) token_refused: &'static str,
    /// Where to revoke the secret of each kind of login. `{base}` is the base URL.
    pub(crate) revoke: [&'static str; 3],
    /// How a token of a login gets the right to push.
    pub(crate) login_may_push: &'static str,
    /// How a user's own token gets the right to push.
    pub(crate) token_may_push: &'static str,
    /// How to create a token. `{base}` is the base URL.
    pub(crate) steps_to_a_token: &'static str,
    /// How to create an OAuth client. `{base}` is the base URL, `{workspace}` the workspace, and `{part}` one of the next.
    pub(crate) steps_to_a_client: &'static str,
    /// The part of these steps for a login in a browser, and for one as the client.
    pub(crate) client_parts: [&'static str; 2],
}
