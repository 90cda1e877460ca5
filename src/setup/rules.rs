//! The settings that `setup` wants.

use super::{
    keys::same_key,
    present::{AGENT, NOTE, Options, Present, REPLACED, Reasoned},
    undo::removed,
};
use crate::{
    app::{self, App},
    profile::{self, Place},
    url::Url,
};

/// What a rule for https addresses means for tools with a git of their own: they follow it, and know no remote helpers.
pub(crate) const NEEDS_GIT: &str = "git uses the helper for https addresses; cargo then needs net.git-fetch-with-cli = true, and poetry system-git-client = true; a program with a git of its own (libgit2, gix, dulwich) cannot use them: see docs/programs.md";
/// A setting that is wanted, and why.
pub(super) struct Request {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) why: &'static str,
    /// Whether setup keeps a value of the user. Otherwise, it adds its own value to the present ones.
    pub(super) is_single: bool,
}

pub(super) fn submodules() -> Request {
    request(
        "protocol.bbtoken.allow".into(),
        "always",
        "git may clone submodules with bbtoken:: addresses",
    )
}

/// Gives the rules for addresses. The rules of an earlier setup depend on the sites, so they are brought up to date.
pub(super) fn rewritten(app: &App, present: &Present<'_>, options: &Options) -> Vec<Request> {
    let mut places: Vec<_> = app.used_places().iter().collect();
    places.dedup_by_key(|place| &place.base);
    let mut rules: Vec<_> = places.iter().flat_map(|place| usual_names(place)).collect();
    if options.plain {
        rules.extend(plain(app, &places));
    } else {
        let is_only = app.has_one_site();
        let all = places.iter().flat_map(|place| rewriting(place, is_only));
        let is_noted = |start: &str| noted(present).any(|(_, noted)| noted == start);
        rules.extend(all.filter(|(_, start, _)| options.everywhere || is_noted(start)));
    }
    let to_request = |(to, start, why): (String, String, _)| Request {
        is_single: false,
        ..request(format!("url.{to}.insteadOf"), &start, why)
    };
    rules.into_iter().map(to_request).collect()
}

/// Removes the rules of an earlier setup that others replace. Of two rules for the same beginning, git takes the first.
pub(super) fn replaced(requests: &[Request], present: &Present<'_>) -> Vec<Reasoned> {
    let is_replaced = |(key, start): &(&str, &str)| {
        let mut requests = requests.iter();
        requests.any(|request| request.value == *start && !same_key(&request.key, key))
    };
    let both = |(key, start): (&str, &str)| {
        let note = format!("{key}={start}");
        [removed(key, start), removed(NOTE, &note)].map(|change| (change, REPLACED))
    };
    noted(present).filter(is_replaced).flat_map(both).collect()
}

/// Lists the rules that an earlier setup wrote, and that turn other addresses into ours.
fn noted<'t>(present: &'t Present<'_>) -> impl Iterator<Item = (&'t str, &'t str)> {
    let notes = present.own.iter().filter(|(key, _)| same_key(key, NOTE));
    let rules = notes.filter_map(|(_, note)| note.split_once('='));
    rules.filter(|(key, start)| {
        let is_rule = key.starts_with("url.bbtoken:") && !start.starts_with("bbtoken:");
        is_rule && present.own_has(key, start)
    })
}

/// A rule: what an address begins with then, and before, and why.
type Rule = (String, String, &'static str);

/// Turns the other names of a site's host into the usual one.
fn usual_names(place: &Place) -> impl Iterator<Item = Rule> {
    let to = format!("{}/", place.web());
    let why = "git and git-lfs get tokens for this address, too";
    other_starts(place, true).map(move |name| (to.clone(), name, why))
}

/// Gives what the other https addresses of a site begin with, or those of ssh.
fn other_starts(place: &Place, is_web: bool) -> impl Iterator<Item = String> {
    let all = place.other_starts().into_iter();
    all.filter(move |start| start.starts_with("https://") == is_web)
}

/// Turns the agent on where a person works. The user may have decided already.
pub(super) fn agent(present: &Present<'_>, options: &Options) -> Option<Request> {
    let is_decided = present.entries.iter().any(|entry| entry.name() == AGENT);
    let why = "a process keeps connections open for two minutes: the next commands save two round trips; auto means not in CI and not with sudo";
    #[cfg(unix)]
    let is_suitable = app::is_a_persons_session();
    #[cfg(not(unix))]
    let is_suitable = false;
    let is_wanted = options.agent && !is_decided && is_suitable;
    is_wanted.then(|| request(AGENT.to_owned(), "auto", why))
}

fn request(key: String, value: &str, why: &'static str) -> Request {
    Request {
        key,
        value: value.to_owned(),
        why,
        is_single: true,
    }
}

/// Lets git and git-lfs ask so that the right profile answers.
pub(super) fn asked_well(site: &Url) -> [Request; 2] {
    let site = app::site(site);
    [
        request(
            format!("credential.{site}.useHttpPath"),
            "true",
            "git passes the path, which selects the profile",
        ),
        request(
            format!("lfs.{site}/.access"),
            "basic",
            "git-lfs sends credentials with its first request",
        ),
    ]
}

/// Turns our addresses into plain https ones, also those that were made of a full URL; not those that name a profile,
/// for which https has no place.
fn plain(app: &App, places: &[&Place]) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut add = |to: String, start: String| {
        let why = "git, and tools without remote helpers, use https for bbtoken:: addresses";
        rules.push((to, start, why));
    };
    let usual = app.place_for(None);
    if let Some(usual) = usual {
        add(usual.git(), "bbtoken::".to_owned());
        add(usual.git(), "bbtoken://".to_owned());
    }
    for place in places {
        let web = format!("{}/", place.web());
        add(web.clone(), format!("bbtoken::{web}"));
        for start in other_starts(place, false) {
            add(place.git(), format!("bbtoken::{start}"));
        }
    }
    let workspaces = app.raw.profiles.values().flat_map(|own| &own.workspaces);
    for workspace in workspaces.map(|setting| &setting.value) {
        let own = app.place_for(Some(workspace));
        let own = own.filter(|own| usual.is_none_or(|usual| usual.base != own.base));
        if let Some(git) = own.map(Place::git) {
            let start = format!("bbtoken::{workspace}/");
            add(format!("{git}{workspace}/"), start);
        }
    }
    let names = profile::names(&app.raw).into_iter();
    let ours = names.flat_map(|name| [format!("bbtoken::{name}@"), format!("bbtoken://{name}@")]);
    let why = "an address that names its profile stays as it is";
    rules.extend(ours.map(|start| (start.clone(), start, why)));
    rules
}

/// Turns the addresses of a site into ours. Addresses without a host serve only one site, and have no path before the
/// workspace.
fn rewriting(place: &Place, is_only: bool) -> Vec<Rule> {
    let git_path = place.product.facts().git_path;
    let host = match is_only && git_path.is_empty() {
        true => "bbtoken::".to_owned(),
        false => format!("bbtoken::{}/", place.web()),
    };
    let why = "git uses the helper for addresses of this form, in every repository";
    let ssh = other_starts(place, false);
    let ssh = ssh.map(|start| (format!("{host}{git_path}"), start, why));
    let web = (host.clone(), format!("{}/", place.web()), NEEDS_GIT);
    std::iter::once(web).chain(ssh).collect()
}
