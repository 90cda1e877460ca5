//! Which profile an address gets, and why.

use super::{
    DEFAULT, ENVIRONMENT, Profile, Raw, Setting,
    resolve::{base_url, misconfigured, resolve},
};
use crate::{
    address::Address,
    failure::{Failure, Kind, quote},
    http::Url,
    secret::mask_name,
};

/// Chooses the profile that fetches from an address, and resolves it.
///
/// The first that answers: `profile@` in the address, `remote.<name>.bbtokenProfile`, `BBTOKEN_PROFILE`, a client or
/// token in the environment, a profile whose `workspace` names the address's, `bbtoken.profile`, the only profile. An
/// address with a host gets a profile of that site, or none.
///
/// # Errors
///
/// [`Kind::UnknownProfile`], [`Kind::NotConfigured`], [`Kind::NoProfileForSite`] or [`Kind::Misconfigured`].
pub(crate) fn choose(raw: &Raw, address: Option<&Address>) -> Result<Profile, Failure> {
    let (profile, refusal) = choose_for_push(raw, address)?;
    refusal.map_or(Ok(profile), Err)
}

/// Chooses the profile as [`choose`] does, for a push; beside it stands why a fetch must not use it, if so.
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

/// Names every profile there is, in alphabetical order.
pub(crate) fn names(raw: &Raw) -> Vec<String> {
    let mut names: Vec<_> = raw.profiles.keys().cloned().collect();
    if raw.common.has_client() {
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

/// Resolves the profile of a name.
///
/// # Errors
///
/// As [`choose`].
pub(crate) fn named(raw: &Raw, name: &str, origin: &str) -> Result<Profile, Failure> {
    let name = known(raw, name.to_owned(), origin)?;
    is_of_site(raw, &name, origin)?;
    resolve(raw, &name)
}

/// Tells which profile an address gets, and why, in words that follow "because".
///
/// # Errors
///
/// As [`choose`].
pub(crate) fn explain(raw: &Raw, address: Option<&Address>) -> Result<(String, String), Failure> {
    let Choice { name, why, refusal } = choose_name(raw, address)?;
    refusal.map_or(Ok((name, why)), Err)
}

/// Resolves the profile that the user name of an https address names. Such an address may be for a fetch.
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

/// Resolves the profile that pushes in a profile's place; `None` if it pushes itself.
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
            "profile '{pusher}' cannot push for profile '{profile}' ({origin}): its baseUrl is another one"
        )));
    }
    Ok(Some(pusher))
}

/// Who writes the address of a submodule, in messages.
const SUBMODULE: &str = "the address of a submodule";

/// A profile's name, and why it is this one.
struct Choice {
    name: String,
    why: String,
    /// Why it does not serve a fetch, if so.
    refusal: Option<Failure>,
}

fn choose_name(raw: &Raw, address: Option<&Address>) -> Result<Choice, Failure> {
    let environment = &raw.environment;
    let asked = |name: &str, origin: &str, refusal: Option<Failure>| {
        let name = known(raw, name.to_owned(), origin)?;
        is_of_site(raw, &name, origin)?;
        Ok(Choice {
            name,
            why: format!("{origin} asks for it"),
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
        let why = match environment.access_token {
            Some(_) => "a token is in the environment",
            None => "BBTOKEN_CLIENT_ID is set",
        };
        return Ok(trusted(ENVIRONMENT.to_owned(), why.to_owned()));
    }
    if let Some(address) = address
        && let Some(name) = by_workspace(raw, &address.workspace)?
    {
        let why = format!("bbtoken.{name}.workspace names '{}'", address.workspace);
        return Ok(trusted(name, why));
    }
    // This setting is for every address, and the site of this one decides first.
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

/// Says why a fetch must not use a profile that an address names, if a repository may have put the name there.
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

/// Says why a repository must not make a fetch use a profile: it is there for pushing, and the user has not typed its
/// name for anything else.
fn pushes_only(raw: &Raw, name: &str, origin: &str, address: Option<&Address>) -> Option<Failure> {
    let mut pushers = raw.pushers();
    let (_, pusher) = pushers.find(|(of, setting)| *of != name && setting.value == name)?;
    let serves = |address: &Address| {
        let profile = raw.profiles.get(name);
        let workspaces = profile.map_or(&[][..], |profile| &profile.workspaces);
        workspaces
            .iter()
            .any(|setting| setting.value.eq_ignore_ascii_case(&address.workspace))
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
    let of_common = name == DEFAULT && raw.common.has_client();
    if raw.profiles.contains_key(&name) || of_environment || of_common {
        return Ok(name);
    }
    let known = raw.profiles.keys().cloned().collect();
    Err(Failure::new(
        Kind::UnknownProfile { known },
        format!(
            "there is no profile '{}', which {origin} asks for",
            mask_name(&name)
        ),
    ))
}

/// Tells whether a profile is for the site that the address names, if it names one.
fn fits_site(raw: &Raw, name: &str) -> bool {
    raw.sites.is_empty() || base_url(raw, name).is_ok_and(|base| raw.sites.contains(&base))
}

/// Refuses a profile that is named for an address of another site: its token would go there, or the request elsewhere.
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

/// Shows a base URL as people write it.
fn shown(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}

fn by_workspace(raw: &Raw, workspace: &str) -> Result<Option<String>, Failure> {
    let mut serving = raw.profiles.iter().filter(|(name, profile)| {
        let mut workspaces = profile.workspaces.iter();
        workspaces.any(|setting| setting.value.eq_ignore_ascii_case(workspace))
            && fits_site(raw, name)
    });
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
            "settings without a profile's name make the default one",
        );
    }
    let of_site = || raw.profiles.keys().filter(|name| fits_site(raw, name));
    let mut found = of_site();
    match (found.next(), found.next()) {
        (Some(name), None) if raw.profiles.len() == 1 => chosen(name, "it is the only one"),
        (Some(name), None) => chosen(name, "it is the only one for this site"),
        (None, _) => Err(none(raw)),
        (Some(_), Some(_)) if of_site().any(|name| name == DEFAULT) => {
            chosen(DEFAULT, "it is called so")
        }
        (Some(_), Some(_)) => {
            let names: Vec<_> = of_site().map(|name| format!("'{name}'")).collect();
            Err(misconfigured(format!(
                "several profiles are configured ({}) and none is chosen; set bbtoken.profile to one of them",
                names.join(", ")
            )))
        }
    }
}

/// Says that there is no profile at all, or none for the site that the address names.
fn none(raw: &Raw) -> Failure {
    match raw.sites.first() {
        Some(site) if !names(raw).is_empty() => {
            let site = shown(site).to_owned();
            let message = format!("no profile is for {site}");
            Failure::new(Kind::NoProfileForSite { site }, message)
        }
        _ => Failure::new(
            Kind::NotConfigured,
            "no OAuth client and no token is configured",
        ),
    }
}
