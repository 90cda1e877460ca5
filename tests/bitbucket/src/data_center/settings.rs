//! What tests may change of a Data Center.

use serde::{Deserialize, Serialize};

/// The behavior of a Data Center; the defaults are those of version 10.2 as far as they are known.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataCenter {
    /// The login of the person who signs in, and who owns the personal tokens that are issued from now on.
    pub user: String,
    /// The password of that person.
    pub password: String,
    /// Whether the browser is signed in already. If not, the authorize page sends it to the login page first.
    pub signed_in: bool,
    /// The version that `application-properties` tells.
    pub version: String,
    /// The base URL that the server believes it has, with its context path, if that is not where it is reached.
    ///
    /// `Location`, the links to LFS objects and the clone links of REST are built on it.
    pub base_url: Option<String>,
    /// Whether redirect URIs may begin with `http:` (`skip.redirect.url.https.requirement`). Default: no.
    pub http_redirects: bool,
    /// The life of an authorization code (`max.client.delay.seconds`); 10 s.
    pub code_lifetime_s: u64,
    /// Whether clients may prove themselves at the token endpoint by Basic authentication. Default: in the body only.
    pub basic_client_auth: bool,
    /// Whether a refresh must repeat the redirect URI. Sources disagree; default: yes.
    pub refresh_needs_redirect_uri: bool,
    /// Whether a refresh ends the older access tokens of the same grant at once. Default: yes.
    pub refresh_ends_access: bool,
    /// Whether git and git-lfs may use the tokens of service accounts. Not known; default: yes.
    pub service_accounts_on_scm: bool,
    /// The repositories that everybody may read, as `KEY/slug`.
    pub public_repositories: Vec<String>,
    /// Whether Basic authentication is on. Default: yes.
    pub basic_authentication: bool,
    /// How many failed attempts lock an account until its CAPTCHA is solved; 5. `None` is never.
    pub captcha_after: Option<u64>,
    /// Whether project and repository tokens count as the password of `x-token-auth`. Default: as Bearer only.
    pub resource_tokens_over_basic: bool,
    /// Whether tokens count outside `/rest` and `/scm`, as they did before version 8.9.22. Default: no.
    pub tokens_everywhere: bool,
    /// How many requests a user may make. Default: any number.
    pub rate_limit: Option<RateLimit>,
    /// Whether every request is answered with 503 and a page, as while the server starts.
    pub maintenance: bool,
    /// Where a gateway before the server sends every request with 302. Default: there is no gateway.
    pub sso_gateway: Option<String>,
    /// The repositories without Git LFS, as `KEY/slug`.
    pub lfs_off: Vec<String>,
    /// Whether the license has expired, so that pushes are refused.
    pub license_expired: bool,
}

impl Default for DataCenter {
    fn default() -> Self {
        Self {
            user: "local".to_owned(),
            password: "local password".to_owned(),
            signed_in: false,
            version: "10.2.1".to_owned(),
            base_url: None,
            http_redirects: false,
            code_lifetime_s: 10,
            basic_client_auth: false,
            refresh_needs_redirect_uri: true,
            refresh_ends_access: true,
            service_accounts_on_scm: true,
            public_repositories: Vec::new(),
            basic_authentication: true,
            captcha_after: Some(5),
            resource_tokens_over_basic: false,
            tokens_everywhere: false,
            rate_limit: None,
            maintenance: false,
            sso_gateway: None,
            lfs_off: Vec::new(),
            license_expired: false,
        }
    }
}

/// A token bucket for each user ("Improving instance stability with rate limiting").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests may come at once; 60 in Atlassian's example.
    pub capacity: u64,
    /// How many more each second allows; 5 in Atlassian's example.
    pub per_second: u64,
}
