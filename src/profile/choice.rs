//! Which profile an address gets, and why.

use super::{
    DEFAULT, ENVIRONMENT, Profile, Raw, RawProfile, Setting,
    resolve::{misconfigured, resolve},
};
use crate::{
    address::Address,
    failure::{Failure, Kind, quote},
};

/// Chooses the profile for an address, and resolves it.
///
/// The first that answers: `profile@` in the address, `remote.<name>.bbtokenProfile`, `BBTOKEN_PROFILE`, a client or
/// token in the environment, a profile whose `workspace` names the address's, `bbtoken.profile`, the only profile.
///
/// # Errors
///
/// [`Kind::UnknownProfile`], [`Kind::NotConfigured`] or [`Kind::Misconfigured`].
pub fn choose(raw: &Raw, address: Option<&Address>) -> Result<Profile, Failure> {
    let (name, _) = choose_name(raw, address)?;
    resolve(raw, &name)
}

/// Names every profile there is, in alphabetical order.
pub fn names(raw: &Raw) -> Vec<String> {
    let mut names: Vec<_> = raw.profiles.keys().cloned().collect();
    if has_client(&raw.common) {
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
pub fn named(raw: &Raw, name: &str, origin: &str) -> Result<Profile, Failure> {
    let name = known(raw, name.to_owned(), origin)?;
    resolve(raw, &name)
}

/// Tells which profile an address gets, and why, in words that follow "because".
///
/// # Errors
///
/// As [`choose`].
pub fn explain(raw: &Raw, address: Option<&Address>) -> Result<(String, String), Failure> {
    choose_name(raw, address)
}

/// Resolves the profile that pushes in a profile's place; `None` if it pushes itself.
///
/// # Errors
///
/// As [`choose`].
pub fn for_push(raw: &Raw, profile: &Profile) -> Result<Option<Profile>, Failure> {
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

/// Chooses a name, and says why.
fn choose_name(raw: &Raw, address: Option<&Address>) -> Result<(String, String), Failure> {
    let environment = &raw.environment;
    let asked = |name: &str, origin: &str| {
        Ok((
            known(raw, name.to_owned(), origin)?,
            format!("{origin} asks for it"),
        ))
    };
    if let Some(name) = address.and_then(|address| address.profile.as_deref()) {
        return asked(name, "the address");
    }
    if let Some(Setting { value, origin }) = &raw.of_remote {
        return asked(value, origin);
    }
    if let Some(name) = &environment.profile {
        return asked(name, "BBTOKEN_PROFILE");
    }
    if environment.is_complete() {
        let why = match environment.access_token {
            Some(_) => "a token is in the environment",
            None => "BBTOKEN_CLIENT_ID is set",
        };
        return Ok((ENVIRONMENT.to_owned(), why.to_owned()));
    }
    if let Some(address) = address
        && let Some(name) = by_workspace(raw, &address.workspace)?
    {
        let why = format!("bbtoken.{name}.workspace names '{}'", address.workspace);
        return Ok((name, why));
    }
    if let Some(Setting { value, origin }) = &raw.selected {
        return asked(value, origin);
    }
    the_only(raw)
}

fn known(raw: &Raw, name: String, origin: &str) -> Result<String, Failure> {
    let environment_name = raw.environment.profile.as_deref().unwrap_or(ENVIRONMENT);
    let of_environment = name == environment_name && raw.environment.is_complete();
    let of_common = name == DEFAULT && has_client(&raw.common);
    if raw.profiles.contains_key(&name) || of_environment || of_common {
        return Ok(name);
    }
    let known = raw.profiles.keys().cloned().collect();
    Err(Failure::new(
        Kind::UnknownProfile { known },
        format!(
            "there is no profile '{}', which {origin} asks for",
            quote(&name)
        ),
    ))
}

fn by_workspace(raw: &Raw, workspace: &str) -> Result<Option<String>, Failure> {
    let mut serving = raw.profiles.iter().filter(|(_, profile)| {
        profile
            .workspaces
            .iter()
            .any(|setting| setting.value.eq_ignore_ascii_case(workspace))
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
    if has_client(&raw.common) {
        return chosen(
            DEFAULT,
            "settings without a profile's name make the default one",
        );
    }
    let mut names = raw.profiles.keys();
    match (names.next(), names.next()) {
        (Some(name), None) => chosen(name, "it is the only one"),
        (None, _) => Err(Failure::new(
            Kind::NotConfigured,
            "no OAuth client and no token is configured",
        )),
        (Some(_), Some(_)) if raw.profiles.contains_key(DEFAULT) => {
            chosen(DEFAULT, "it is called so")
        }
        (Some(_), Some(_)) => {
            let names: Vec<_> = raw
                .profiles
                .keys()
                .map(|name| format!("'{name}'"))
                .collect();
            Err(misconfigured(format!(
                "several profiles are configured ({}) and none is chosen; set bbtoken.profile to one of them",
                names.join(", ")
            )))
        }
    }
}

pub(super) fn has_client(profile: &RawProfile) -> bool {
    profile.client_id.is_some() || profile.access_token_command.is_some()
}
