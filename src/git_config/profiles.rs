//! Collects the settings for profiles from git's configuration and the environment.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use percent_encoding::percent_decode_str;

use super::{
    entry::{Entry, is_true_text},
    environment::{Variables, absolute},
    git::GitConfig,
    repository::{self, BBTOKEN_KEYS, REMOTE_KEYS, Row},
    vault,
};
use crate::{
    address::{PROFILE_NAME_RULE, is_profile_name},
    failure::{Failure, misconfigured},
    pasted,
    profile::{Environment, Key, Raw, RawProfile, Setting, Source, Variable, builtin},
    secret::{Secret, mask_name},
    suggestion::{Unknown, similar},
};

/// Collects the settings for profiles from git's configuration and the environment.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for an empty `BBTOKEN_*` variable, for two variables that exclude each
/// other, and for a setting that a repository must not make ([`BBTOKEN_KEYS`]).
pub(crate) fn profiles(config: &GitConfig, variables: Variables<'_>) -> Result<Raw, Failure> {
    let mut raw = Raw {
        environment: environment(variables)?,
        builtin: builtin::client(),
        ..Raw::default()
    };
    for entry in config.entries().filter(|entry| entry.section == "bbtoken") {
        repository::check_bbtoken(entry)?;
        let target = match &entry.subsection {
            None if entry.key == "profile" => {
                raw.selected = Some(selection(&mut raw.typed, entry));
                continue;
            }
            None => &mut raw.common,
            Some(name) if is_profile_name(name) => {
                raw.profiles.entry(name.to_string()).or_default()
            }
            Some(name) => {
                return Err(misconfigured(format!(
                    "'{}' in {} is not a valid profile name: {PROFILE_NAME_RULE}",
                    mask_name(name),
                    entry.origin
                )));
            }
        };
        if !assign(target, entry) {
            raw.unknown_keys.extend(unknown(entry, &BBTOKEN_KEYS));
        }
    }
    let of_remotes = config.entries().filter(|entry| entry.section == "remote");
    for entry in of_remotes.filter(|entry| entry.key.starts_with("bbtoken")) {
        raw.unknown_keys.extend(unknown(entry, &REMOTE_KEYS));
    }
    if raw.names_a_store() {
        add_shared(&mut raw, variables)?;
    }
    if raw.has_pushers() {
        raw.is_of_superproject = is_of_superproject(variables);
        raw.planted = config.of_repository().flat_map(planted).collect();
    }
    Ok(raw)
}

/// Adds the profile that a remote's settings select.
pub(crate) fn add_remote(raw: &mut Raw, config: &GitConfig, remote: &str) {
    let of_remote = config.entries().filter(|entry| {
        entry.section == "remote"
            && entry.subsection.as_deref() == Some(remote)
            && entry.key == "bbtokenprofile"
    });
    for entry in of_remote {
        raw.of_remote = Some(selection(&mut raw.typed, entry));
    }
}

/// Gives the user names that a repository's setting puts into addresses. The origin omits the URL in the key, because
/// it may contain a password.
fn planted(entry: &Entry) -> Vec<Setting> {
    let (key, names) = match (&*entry.section, &*entry.key) {
        ("credential", "username") => {
            let key = match entry.subsection {
                Some(_) => "credential.<url>.username",
                None => "credential.username",
            };
            (key, entry.value.iter().cloned().collect())
        }
        ("url", "insteadof") => ("url.<base>.insteadOf", users(entry)),
        ("url", "pushinsteadof") => ("url.<base>.pushInsteadOf", users(entry)),
        _ => return Vec::new(),
    };
    let setting = |value| Setting {
        value,
        origin: format!("{key} in {}", entry.origin),
    };
    names.into_iter().map(setting).collect()
}

/// Gives the parts of a rule's base URL that may become the user name of an address. The address may add the `@`.
fn users(rule: &Entry) -> Vec<String> {
    let base = percent_decode_str(rule.subsection.as_deref().unwrap_or_default());
    let base = base.decode_utf8_lossy();
    base.split([':', '/', '@']).map(str::to_owned).collect()
}

/// Reads a setting that selects a profile. Records the profile if the user wrote the setting.
fn selection(typed: &mut Vec<String>, entry: &Entry) -> Setting {
    let setting = setting(entry);
    if entry.scope.is_protected() {
        typed.push(setting.value.clone());
    }
    setting
}

/// Tells whether a superproject may have written the address. Git reports that for a clone (git(1),
/// `GIT_PROTOCOL_FROM_USER`). The repositories of submodules are below `modules` (gitsubmodules(7)).
fn is_of_superproject(variables: Variables<'_>) -> bool {
    if variables("GIT_PROTOCOL_FROM_USER").is_some_and(|value| !is_true_text(&value)) {
        return true;
    }
    let git_dir = variables("GIT_DIR").map(PathBuf::from);
    let git_dir = git_dir.and_then(|path| path.canonicalize().ok());
    git_dir.is_some_and(|path| {
        let mut places = path.ancestors();
        places.any(|place| {
            let superproject = place.parent().map(|parent| parent.join("HEAD"));
            // A dangling link counts too.
            place.file_name() == Some(OsStr::new("modules"))
                && superproject.is_some_and(|head| head.symlink_metadata().is_ok())
        })
    })
}

/// Describes a setting whose key is not in a table.
fn unknown(entry: &Entry, known: &[Row]) -> Option<Unknown> {
    let mut names = known.iter().map(|row| row.name);
    if names.any(|name| name.eq_ignore_ascii_case(&entry.key)) {
        return None;
    }
    let instead = similar(&entry.key, known.iter().map(|row| row.name));
    let whole = entry.name();
    let start = &whole[..whole.len() - entry.key.len()];
    Some(Unknown {
        name: format!("{whole} in {}", entry.origin),
        instead: instead.map(|key| format!("{start}{key}")),
    })
}

/// Assigns a setting to its key; false if there is none. Unknown keys are ignored, as in git.
pub(super) fn assign(profile: &mut RawProfile, entry: &Entry) -> bool {
    match Key::named(&entry.key) {
        Some(key) => {
            let mut found = setting(entry);
            if key == Key::ClientId {
                found.value = freed(found.value);
            }
            profile.set(key, Some(found));
        }
        None if entry.key == "workspace" => profile.workspaces.push(setting(entry)),
        None => return false,
    }
    true
}

fn setting(entry: &Entry) -> Setting {
    Setting {
        value: entry.value.clone().unwrap_or_default(),
        origin: entry.with_origin(),
    }
}

/// Removes quotes and spaces around a value. An ambiguous value stays unchanged and is refused later.
fn freed(value: String) -> String {
    match pasted::text(value.as_bytes()) {
        Ok(text) => text.expose().to_owned(),
        Err(_) => value,
    }
}

fn environment(variables: Variables<'_>) -> Result<Environment, Failure> {
    let read = |name| variable(variables, name);
    let source = |given, file| source(variables, given, file);
    check_home(variables)?;
    let profile = read("BBTOKEN_PROFILE")?;
    if let Some(name) = profile.as_deref().filter(|name| !is_profile_name(name)) {
        return Err(misconfigured(format!(
            "'{}' (BBTOKEN_PROFILE) is not a valid profile name: {PROFILE_NAME_RULE}",
            mask_name(name)
        )));
    }
    let mut environment = Environment {
        profile,
        client_id: read("BBTOKEN_CLIENT_ID")?.map(freed),
        client_secret: source("BBTOKEN_CLIENT_SECRET", "BBTOKEN_CLIENT_SECRET_FILE")?,
        access_token: source("BBTOKEN_ACCESS_TOKEN", "BBTOKEN_ACCESS_TOKEN_FILE")?,
        ..Environment::default()
    };
    for key in Key::all() {
        if let Variable::Always(name) = key.variable() {
            let setting = setting_of(variables, name)?;
            environment.settings.set(key, setting);
        }
    }
    Ok(environment)
}

/// Reads the variables for a store that many machines share. Only a command with such a store needs them.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for an empty variable.
pub(crate) fn add_shared(raw: &mut Raw, variables: Variables<'_>) -> Result<(), Failure> {
    let environment = &mut raw.environment;
    for key in Key::all() {
        if let Variable::OfSharedStore(name) = key.variable() {
            let setting = setting_of(variables, name)?;
            environment.settings.set(key, setting);
        }
    }
    environment.of_vault = vault::settings(variables);
    Ok(())
}

fn setting_of(variables: Variables<'_>, name: &'static str) -> Result<Option<Setting>, Failure> {
    Ok(variable(variables, name)?.map(|value| Setting {
        value,
        origin: name.to_owned(),
    }))
}

fn variable(variables: Variables<'_>, name: &'static str) -> Result<Option<String>, Failure> {
    match variables(name) {
        None => Ok(None),
        Some(value) if value.is_empty() => Err(empty(name)),
        Some(value) => value.into_string().map(Some).map_err(|_| {
            misconfigured(format!(
                "{name} is not valid UTF-8; set the variable to valid text"
            ))
        }),
    }
}

fn source(
    variables: Variables<'_>,
    given: &'static str,
    file: &'static str,
) -> Result<Option<Source>, Failure> {
    match (variable(variables, given)?, variable(variables, file)?) {
        (Some(_), Some(_)) => Err(misconfigured(format!(
            "{given} and {file} are both set; unset one of them"
        ))),
        (Some(secret), None) => Ok(Some(Source::Given {
            variable: given,
            secret: Secret::new(freed(secret)),
        })),
        (None, Some(path)) => Ok(Some(Source::File(absolute(file, path)?))),
        (None, None) => Ok(None),
    }
}

/// Checks a path that may have any bytes, and that `directories` reads.
fn check_home(variables: Variables<'_>) -> Result<(), Failure> {
    match variables("BBTOKEN_HOME") {
        Some(home) if home.is_empty() => Err(empty("BBTOKEN_HOME")),
        Some(home) if !Path::new(&home).is_absolute() => Err(misconfigured(
            "BBTOKEN_HOME is not an absolute path, so tokens would land in the directory in which git runs; set BBTOKEN_HOME to an absolute path",
        )),
        _ => Ok(()),
    }
}

fn empty(name: &str) -> Failure {
    misconfigured(format!(
        "{name} is set but empty; unset it or give it a value"
    ))
}
