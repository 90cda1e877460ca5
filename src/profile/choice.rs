//! Chooses the profile for an address, with the reason.

use super::{
    grant::Source,
    raw::Raw,
    reserved_names::{DEFAULT, ENVIRONMENT},
    resolve::{base_url, resolve},
    valid::Profile,
    values::Setting,
};
use crate::{
    address::{Address, is_profile_name},
    failure::{Failure, Kind, misconfigured, quote},
    secret::mask_name,
    url::Url,
};

/// Chooses and resolves the profile for a fetch from an address.
///
/// The first match wins: `profile@` in the address, `remote.<name>.bbtokenProfile`, `BBTOKEN_PROFILE`, a client or
/// token in the environment, a profile with the address's `workspace`, `bbtoken.profile`, the only profile. For an
/// address with a host, the profile must belong to that site.
///
/// # Errors
///
/// [`Kind::UnknownProfile`], [`Kind::NotConfigured`], [`Kind::NoProfileForSite`] or [`Kind::Misconfigured`].
pub(crate) fn choose(raw: &Raw, address: Option<&Address>) -> Result<Profile, Failure> {
    let (profile, refusal) = choose_for_push(raw, address)?;
    refusal.map_or(Ok(profile), Err)
}

/// Chooses the profile for a push, as [`choose`] does. Also gives the reason why a fetch must not use it, if there is
/// one.
///
/// # Errors
///
/// As [`choose`].
pub(crate) fn choose_for_push(
    raw: &Raw,
    address: Option<&Address>,
) -> Result<(Profile, Option<Failure>), Failure> {
    let choice = choose_name(raw, address)?;
    Ok((resolve(raw, &choice.name)?, choice.refusal))
}

/// Lists the names of all profiles in alphabetical order.
pub(crate) fn names(raw: &Raw) -> Vec<String> {
    let mut names: Vec<_> = raw.profiles.keys().cloned().collect();
    let is_for_builtin = raw.profiles.is_empty() && raw.builtin.is_some();
    if raw.common.has_client() || is_for_builtin {
        names.push(DEFAULT.to_owned());
    }
    if raw.environment.is_complete() {
        names.push(
            raw.environment
                .profile
                .clone()
                .unwrap_or_else(|| ENVIRONMENT.to_owned()),
        );
    }
    names.sort();
    names.dedup();
    names
}

/// Resolves the profile with a name.
///
/// # Errors
///
/// As [`choose`].
pub(crate) fn named(raw: &Raw, name: &str, origin: &str) -> Result<Profile, Failure> {
    let name = known(raw, name.to_owned(), origin)?;
    is_of_site(raw, &name, origin)?;
    resolve(raw, &name)
}

/// Gives the name of the profile for an address, and the reason as a text that follows "because".
///
/// # Errors
///
/// As [`choose`].
pub(crate) fn explain(raw: &Raw, address: Option<&Address>) -> Result<(String, String), Failure> {
    let Choice { name, why, refusal } = choose_name(raw, address)?;
    refusal.map_or(Ok((name, why)), Err)
}

/// Resolves the profile that the user name in an https address names. The address may be for a fetch.
///
/// # Errors
///
/// As [`choose`].
pub(crate) fn named_by_user(
    raw: &Raw,
    name: &str,
    address: Option<&Address>,
) -> Result<Profile, Failure> {
    planted(raw, name, address).map_or(Ok(()), Err)?;
    named(raw, name, "the user name in the URL")
}

/// Resolves the profile that pushes instead of a profile; `None` if it pushes itself.
///
/// # Errors
///
/// As [`choose`].
pub(crate) fn for_push(raw: &Raw, profile: &Profile) -> Result<Option<Profile>, Failure> {
    let Some(Setting { value, origin }) = &profile.push_profile else {
        return Ok(None);
    };
    let name = known(raw, value.clone(), origin)?;
    let pusher = resolve(raw, &name)?;
    if pusher.endpoints.base != profile.endpoints.base {
        return Err(misconfigured(format!(
            "profile '{pusher}' cannot push for profile '{profile}' ({origin}), because their base URLs differ; give both profiles the same baseUrl, or choose another pushProfile"
        )));
    }
    Ok(Some(pusher))
}

/// The origin of a submodule's address, for messages.
const SUBMODULE: &str = "the address of a submodule";

/// The name of the chosen profile, with the reason.
struct Choice {
    name: String,
    why: String,
    /// The reason why a fetch must not use it, if there is one.
    refusal: Option<Failure>,
}

fn choose_name(raw: &Raw, address: Option<&Address>) -> Result<Choice, Failure> {
    let environment = &raw.environment;
    let asked = |name: &str, origin: &str, refusal: Option<Failure>| {
        let name = known(raw, name.to_owned(), origin)?;
        is_of_site(raw, &name, origin)?;
        Ok(Choice {
            name,
            why: format!("{origin} names it"),
            refusal,
        })
    };
    let trusted = |name: String, why: String| Choice {
        name,
        why,
        refusal: None,
    };
    if let Some(name) = address.and_then(|address| address.profile.as_deref()) {
        return asked(name, "the address", planted(raw, name, address));
    }
    if let Some(Setting { value, origin }) = &raw.of_remote {
        return asked(value, origin, pushes_only(raw, value, origin, address));
    }
    if let Some(name) = &environment.profile {
        return asked(name, "BBTOKEN_PROFILE", None);
    }
    if environment.is_complete() && fits_site(raw, ENVIRONMENT) {
        let why = match (&environment.access_token, &environment.client_id) {
            (Some(_), _) => "a token is in the environment",
            (None, Some(_)) => "BBTOKEN_CLIENT_ID is set",
            (None, None) => "BBTOKEN_STORE names a shared record",
        };
        return Ok(trusted(ENVIRONMENT.to_owned(), why.to_owned()));
    }
    if let Some(address) = address
        && let Some(name) = by_workspace(raw, &address.workspace)?
    {
        let why = format!("bbtoken.{name}.workspace names '{}'", address.workspace);
        return Ok(trusted(name, why));
    }
    // This setting applies to all addresses, so it must not override the site of this one.
    let selected = raw.selected.as_ref();
    let selected = selected.filter(|setting| {
        known(raw, setting.value.clone(), "").is_err() || fits_site(raw, &setting.value)
    });
    if let Some(Setting { value, origin }) = selected {
        return asked(value, origin, pushes_only(raw, value, origin, address));
    }
    let (name, why) = the_only(raw)?;
    Ok(trusted(name, why))
}

/// Gives the reason why a fetch must not use a profile from an address, if a repository may have written its name.
fn planted(raw: &Raw, name: &str, address: Option<&Address>) -> Option<Failure> {
    let mut settings = raw.planted.iter();
    let setting = settings.find(|setting| setting.value == name);
    let origin = match setting {
        _ if raw.is_of_superproject => SUBMODULE,
        Some(setting) => &setting.origin,
        None => return None,
    };
    pushes_only(raw, name, origin, address)
}

/// Gives the reason why a repository must not select a profile for a fetch: the profile is for pushes, and the user has
/// selected it for nothing else.
fn pushes_only(raw: &Raw, name: &str, origin: &str, address: Option<&Address>) -> Option<Failure> {
    let mut pushers = raw.pushers();
    let (_, pusher) = pushers.find(|(of, setting)| *of != name && setting.value == name)?;
    let serves = |address: &Address| {
        let own = raw.profiles.get(name);
        own.is_some_and(|own| own.serves(&address.workspace))
    };
    let is_typed = raw.typed.iter().any(|typed| typed == name)
        || raw.environment.profile.as_deref() == Some(name)
        || address.is_some_and(serves);
    (!is_typed).then(|| {
        misconfigured(format!(
            "profile '{}' is for pushes only ({}), and {origin} must not make a fetch use it; to fetch with it, \
             set BBTOKEN_PROFILE={}",
            quote(name),
            pusher.origin,
            quote(name)
        ))
    })
}

fn known(raw: &Raw, name: String, origin: &str) -> Result<String, Failure> {
    let environment_name = raw.environment.profile.as_deref().unwrap_or(ENVIRONMENT);
    let of_environment = name == environment_name && raw.environment.is_complete();
    let of_common = name == DEFAULT && (raw.common.has_client() || raw.builtin.is_some());
    if raw.profiles.contains_key(&name) || of_environment || of_common {
        return Ok(name);
    }
    let known = raw.profiles.keys().cloned().collect();
    let name = mask_name(&name);
    let message = format!("{origin} names profile '{name}', which does not exist");
    let name = is_profile_name(&name).then_some(name);
    Err(Failure::new(Kind::UnknownProfile { name, known }, message))
}

/// Tells whether a profile belongs to the address's site. Without a site, every profile does.
fn fits_site(raw: &Raw, name: &str) -> bool {
    raw.sites.is_empty() || base_url(raw, name).is_ok_and(|base| raw.sites.contains(&base))
}

/// Refuses a named profile of another site, so that its token does not go to the address's site.
fn is_of_site(raw: &Raw, name: &str, origin: &str) -> Result<(), Failure> {
    let (false, Some(site)) = (fits_site(raw, name), raw.sites.first()) else {
        return Ok(());
    };
    Err(misconfigured(format!(
        "{origin} names profile '{name}', which is for {}, but the address is for {}; name a profile for that site",
        shown(&base_url(raw, name)?),
        shown(site)
    )))
}

/// Formats a base URL for messages.
fn shown(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}

fn by_workspace(raw: &Raw, workspace: &str) -> Result<Option<String>, Failure> {
    let own = raw.profiles.iter();
    let mut serving = own.filter(|(name, own)| own.serves(workspace) && fits_site(raw, name));
    match (serving.next(), serving.next()) {
        (Some((first, _)), Some((second, _))) => Err(misconfigured(format!(
            "profiles '{first}' and '{second}' both claim workspace '{workspace}'; name one in the address, as in '{first}@{workspace}/…'"
        ))),
        (first, _) => Ok(first.map(|(name, _)| name.clone())),
    }
}

fn the_only(raw: &Raw) -> Result<(String, String), Failure> {
    let chosen = |name: &str, why: &str| Ok((name.to_owned(), why.to_owned()));
    if raw.common.has_client() && fits_site(raw, DEFAULT) {
        return chosen(
            DEFAULT,
            "settings without a profile name define the default profile",
        );
    }
    let of_site = || raw.profiles.keys().filter(|name| fits_site(raw, name));
    let mut found = of_site();
    match (found.next(), found.next()) {
        (Some(name), None) if raw.profiles.len() == 1 => chosen(name, "it is the only profile"),
        (Some(name), None) => chosen(name, "it is the only profile for this site"),
        (None, _) if raw.builtin.is_some() && !is_half_set(raw) && fits_site(raw, DEFAULT) => {
            chosen(DEFAULT, "an OAuth client is built into this program")
        }
        (None, _) => Err(none(raw)),
        (Some(_), Some(_)) if of_site().any(|name| name == DEFAULT) => {
            chosen(DEFAULT, "it is named 'default'")
        }
        (Some(_), Some(_)) => {
            let names: Vec<_> = of_site().map(|name| format!("'{name}'")).collect();
            Err(misconfigured(format!(
                "several profiles are configured ({}) and none is chosen; choose one: git bbtoken use <profile>{}",
                names.join(", "),
                raw.doubts()
            )))
        }
    }
}

/// Makes the error for no profile at all, or no profile for the address's site.
fn none(raw: &Raw) -> Failure {
    match raw.sites.first() {
        Some(site) if !names(raw).is_empty() => {
            let site = shown(site).to_owned();
            let message = format!("no profile is configured for {site}{}", raw.doubts());
            Failure::new(Kind::NoProfileForSite { site }, message)
        }
        _ => match &raw.environment.client_secret {
            Some(secret) if is_half_set(raw) => without_id(secret),
            _ => {
                let why = "no OAuth client and no token is configured";
                Failure::new(Kind::NotConfigured, format!("{why}{}", raw.doubts()))
            }
        },
    }
}

/// Tells whether the environment has a client's secret without its id, which a job forgot.
fn is_half_set(raw: &Raw) -> bool {
    raw.environment.client_secret.is_some() && raw.environment.client_id.is_none()
}

/// Makes the error for a client's secret in the environment without the client's id.
fn without_id(secret: &Source) -> Failure {
    let variable = match secret {
        Source::Given { variable, .. } => variable,
        _ => "BBTOKEN_CLIENT_SECRET_FILE",
    };
    misconfigured(format!(
        "{variable} is set, but BBTOKEN_CLIENT_ID is not; set BBTOKEN_CLIENT_ID to the key of the same OAuth consumer"
    ))
}
