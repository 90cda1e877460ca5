//! What lives as long as a command: clients, places, and the one who brings tokens.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{
    Identity, Plan,
    identity::authority,
    memory::{OnDisk, Place},
    proxy::GitLogins,
};
use crate::{
    clock::SystemClock,
    git_config::{self, HttpSettings, Variables, process_variable},
    failure::{self, Failure, Kind, quote},
    parent_watch::Watch,
    http::{Client, Family},
    limits,
    profile::{Grant, Profile, Store},
    transport::{Authorizer, Session},
    secret::Secret,
    token::{Bearer, Places, Tokens},
    trace,
};

/// The `User-Agent` header of our requests; Bitbucket looks for `git/`.
const USER_AGENT: &str = concat!("git/2 git-remote-bbtoken/", env!("CARGO_PKG_VERSION"));

/// What lives as long as a command.
pub(super) struct House {
    pub(super) client: Client,
    /// For the token endpoint, if that is reached in another way.
    token_client: Option<Client>,
    pub(super) watch: Watch,
    /// The hosts that are not verified, each behind the setting that says so.
    unverified: Vec<(String, String)>,
    /// Settings that are not followed where a token is asked for.
    pub(super) left_out: LeftOut,
}

/// Settings that are not followed where a token is asked for.
pub(super) struct LeftOut {
    /// Only git's own transport follows them.
    git_only: Vec<String>,
    /// A proxy that a repository names.
    proxy: Option<String>,
}

impl House {
    pub(super) fn open(identity: &Identity) -> anyhow::Result<Self> {
        let endpoints = &identity.profile.endpoints;
        let token_http = identity.token_http.as_ref();
        let ways = [
            (&endpoints.base, Some(&identity.http)),
            (&endpoints.token, token_http),
        ];
        let unverified = ways.into_iter().filter_map(|(url, http)| {
            let by = http?.settings.unverified_by.as_ref()?;
            Some((by.clone(), authority(url)))
        });
        Ok(House {
            unverified: unverified.collect(),
            left_out: LeftOut {
                git_only: token_http.unwrap_or(&identity.http).git_only.clone(),
                proxy: identity.unused_proxy.clone(),
            },
            client: client(&identity.http)?,
            token_client: identity.token_http.as_ref().map(client).transpose()?,
            watch: Watch::on_stdout(),
        })
    }

    /// Reaches servers by one family of addresses only.
    pub(super) fn keep_to(&mut self, family: Family) -> anyhow::Result<()> {
        let clients = std::iter::once(&mut self.client).chain(&mut self.token_client);
        clients
            .into_iter()
            .try_for_each(|client| client.keep_to(family))
    }

    pub(super) fn bearing<'a>(
        &'a self,
        profile: &'a Profile,
        notify: &'a dyn Fn(&str),
    ) -> Bearing<'a> {
        Bearing {
            tokens: self.tokens(profile, notify),
            name: &profile.name,
            left_out: &self.left_out,
            // A login that is being renewed is not cut off, though git is gone: its next refresh token would be lost.
            watch: match profile.grant {
                Grant::AuthorizationCode(_) => None,
                Grant::ClientCredentials(_) | Grant::Token(_) => Some(&self.watch),
            },
        }
    }

    pub(super) fn session<'a>(
        &'a self,
        bearing: &'a mut Bearing<'_>,
        plan: &'a Plan,
    ) -> Session<'a> {
        let name = plan.address.to_string();
        Session::new(
            &self.client,
            bearing,
            &self.watch,
            &SystemClock,
            plan.repository(),
            name,
        )
        .buffering(plan.identity.http.post_buffer_bytes)
        .following_unless(plan.redirect_ban.as_deref())
    }

    /// Opens what is remembered of the repository for those who read it.
    pub(super) fn memory(&self, plan: &Plan) -> Option<OnDisk<'static>> {
        let profile = &plan.identity.profile;
        let cache = places(profile, &process_variable).cache?;
        let place = Place::of(&plan.remote, &process_variable);
        profile
            .remembers_advertisement
            .then(|| OnDisk::of(&cache, profile, &plan.repository(), place, &SystemClock))
    }

    pub(super) fn tokens<'a>(
        &'a self,
        profile: &'a Profile,
        notify: &'a dyn Fn(&str),
    ) -> Tokens<'a> {
        for (setting, host) in &self.unverified {
            notify(&format!(
                "'{host}' is not verified, because of {setting}: whoever answers in its place gets the token"
            ));
        }
        self.tokens_without_request(profile, notify)
    }

    /// Gives the tokens to what makes no request, so that no server needs to be verified.
    pub(super) fn tokens_without_request<'a>(
        &'a self,
        profile: &'a Profile,
        notify: &'a dyn Fn(&str),
    ) -> Tokens<'a> {
        let places = places(profile, &process_variable);
        places
            .cache
            .iter()
            .for_each(|cache| git_config::keep_learned(cache));
        let client = self.token_client.as_ref().unwrap_or(&self.client);
        Tokens::new(profile, client, &SystemClock, places, notify)
    }
}

/// Makes a client that follows git's settings and asks for a proxy's login as git does.
pub(super) fn client(http: &HttpSettings) -> anyhow::Result<Client> {
    let client = Client::new(&http.settings, USER_AGENT);
    let client = client.map_err(|error| match limits::remedy(&error) {
        Some(_) => error,
        None => error.context(Failure::new(
            Kind::Misconfigured,
            "cannot follow git's http settings",
        )),
    })?;
    Ok(client.with_proxy_logins(Box::new(GitLogins)))
}

/// Names the settings that the token call does not follow, where it was not answered.
pub(super) fn under(left_out: &LeftOut, error: anyhow::Error) -> anyhow::Error {
    let Some(kind @ (Kind::Unreachable { .. } | Kind::Untrusted { .. })) = failure::kind(&error)
    else {
        return error;
    };
    let kind = kind.clone();
    let LeftOut { git_only, proxy } = left_out;
    let message = match proxy {
        Some(proxy) => format!(
            "the request for a token does not use {}, since it carries a secret and a repository must not choose its way; \
             if you trust the proxy, set it for yourself: git config --global http.proxy <address>",
            quote(proxy)
        ),
        None if git_only.is_empty() => return error,
        None => format!(
            "cannot ask for a token as '{}' wants it: only git's own transport can, and it asks for none",
            git_only.join("' and '")
        ),
    };
    error.context(Failure::new(kind, message))
}

/// Makes the `Authorization` header of a token.
pub(super) struct Bearing<'a> {
    tokens: Tokens<'a>,
    name: &'a str,
    left_out: &'a LeftOut,
    /// Ends the process when git is gone while a token is waited for.
    pub(super) watch: Option<&'a Watch>,
}

impl Authorizer for Bearing<'_> {
    fn authorization(&mut self) -> anyhow::Result<Secret> {
        let _armed = self.watch.map(Watch::arm);
        let mut span = trace::span("token");
        span.note("profile", || self.name.into());
        let bearer = self.tokens.bearer(Duration::ZERO);
        let Bearer { token, user, .. } = bearer.map_err(|error| under(self.left_out, error))?;
        let pair = Secret::new(format!("{user}:{}", token.expose()));
        Ok(Secret::new(format!(
            "Basic {}",
            BASE64.encode(pair.expose())
        )))
    }

    fn refused(&mut self) -> anyhow::Result<bool> {
        let _armed = self.watch.map(Watch::arm);
        self.tokens.refused()
    }

    fn identity(&self) -> &str {
        self.name
    }
}

/// Finds the directories for what is kept; none in memory mode.
pub(super) fn places(profile: &Profile, variables: Variables<'_>) -> Places {
    if profile.store == Store::Memory {
        return Places::default();
    }
    let directories = git_config::directories(variables);
    Places {
        cache: directories.cache,
        state: directories.state,
        usual_states: usual_states(variables),
    }
}

/// Finds where a login made outside of a snap or a flatpak is: these set the directories of XDG, a snap also `HOME`.
fn usual_states(variables: Variables<'_>) -> Vec<PathBuf> {
    let homes = ["HOME", "SNAP_REAL_HOME"].into_iter().filter_map(variables);
    let homes = homes.map(PathBuf::from).filter(|home| home.has_root());
    homes
        .filter(|_| cfg!(target_os = "linux"))
        .map(|home| home.join(".local/state").join(git_config::DIRECTORY))
        .collect()
}
