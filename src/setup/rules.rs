//! The settings that `setup` wants.

use super::{AGENT, Options, There};
use crate::{
    app::{self, App},
    http::Url,
    profile,
};

/// Bitbucket Cloud, and what its ssh addresses begin with.
const CLOUD: &str = "https://bitbucket.org";
const CLOUD_SSH: [&str; 6] = [
    "git@bitbucket.org:",
    "ssh://git@bitbucket.org/",
    "ssh://git@altssh.bitbucket.org:443/",
    "ssh://git@bitbucket.org:22/",
    "git+ssh://git@bitbucket.org/",
    "ssh://bitbucket.org/",
];
/// What a rule for https addresses means for tools with a git of their own: they follow it, and know no remote helpers.
pub(crate) const NEEDS_GIT: &str = "git uses the helper for https addresses; cargo then needs net.git-fetch-with-cli = true, and poetry system-git-client = true; a program with a git of its own (libgit2, gix, dulwich) cannot use them: see docs/programs.md";
/// A setting that is wanted, and why.
pub(super) struct Request {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) why: &'static str,
    /// A value of the user's own is respected; else ours is added to what is there.
    pub(super) is_single: bool,
}

pub(super) fn submodules() -> Request {
    request(
        "protocol.bbtoken.allow".into(),
        "always",
        "git may clone submodules with bbtoken:: addresses",
    )
}

pub(super) fn rewritten(app: &App, options: &Options) -> Vec<Request> {
    let bases = app
        .places
        .iter()
        .map(|place| place.base.as_str().trim_end_matches('/'));
    let mut wishes: Vec<_> = bases.clone().filter_map(without_www).collect();
    // Of two sites, an address without its host is either's.
    let is_only = app.places.iter().all(|place| place.base == *app.base());
    if options.plain {
        let base = app.base().as_str().trim_end_matches('/');
        wishes.extend(plain(base, &profile::names(&app.raw)));
    }
    if options.everywhere {
        wishes.extend(bases.flat_map(|base| rewriting(base, is_only)));
    }
    wishes
}

/// Turns the other name of Bitbucket Cloud into the usual one. git-lfs asks where the address says and follows no
/// redirect with a token.
fn without_www(base: &str) -> Option<Request> {
    let why = "git and git-lfs get tokens for this address, too";
    (base == CLOUD).then(|| Request {
        is_single: false,
        ..request(
            format!("url.{CLOUD}/.insteadOf"),
            "https://www.bitbucket.org/",
            why,
        )
    })
}

/// Turns the agent on where a person works. The user may have decided already.
pub(super) fn agent(there: &There<'_>, options: &Options) -> Vec<Request> {
    let is_decided = there.entries.iter().any(|entry| entry.name() == AGENT);
    let why = "a process keeps connections open for two minutes: the next commands save two round trips; auto means not in CI and not with sudo";
    #[cfg(unix)]
    let is_suitable = app::is_a_persons_session();
    #[cfg(not(unix))]
    let is_suitable = false;
    let is_wanted = options.agent && !is_decided && is_suitable;
    let request = is_wanted.then(|| request(AGENT.to_owned(), "auto", why));
    request.into_iter().collect()
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
pub(super) fn asked_well(site: &Url) -> Vec<Request> {
    let site = app::site(site);
    vec![
        request(
            format!("credential.{site}.useHttpPath"),
            "true",
            "git passes the path, so that the workspace selects the profile",
        ),
        request(
            format!("lfs.{site}/.access"),
            "basic",
            "git-lfs sends credentials with its first request, because Bitbucket answers 403 instead of 401",
        ),
    ]
}

/// Turns our addresses into plain https ones, also those that were made of a full URL; not those that name a profile,
/// for which https has no place.
fn plain(base: &str, profiles: &[String]) -> Vec<Request> {
    let mut starts = vec![
        "bbtoken::".to_owned(),
        "bbtoken://".to_owned(),
        format!("bbtoken::{base}/"),
    ];
    if base == CLOUD {
        starts.extend(CLOUD_SSH.map(|start| format!("bbtoken::{start}")));
    }
    let https = starts.into_iter().map(|start| {
        (
            format!("{base}/"),
            start,
            "git, and tools without remote helpers, use https for bbtoken:: addresses",
        )
    });
    let ours = profiles
        .iter()
        .flat_map(|name| [format!("bbtoken::{name}@"), format!("bbtoken://{name}@")])
        .map(|start| {
            (
                start.clone(),
                start,
                "an address that names its profile stays as it is",
            )
        });
    https
        .chain(ours)
        .map(|(to, start, why)| Request {
            is_single: false,
            ..request(format!("url.{to}.insteadOf"), &start, why)
        })
        .collect()
}

/// Turns the addresses below a base URL into ours; those of Bitbucket Cloud's ssh, too.
fn rewriting(base: &str, is_only: bool) -> Vec<Request> {
    let host = if is_only {
        String::new()
    } else {
        format!("{base}/")
    };
    let mut starts = vec![format!("{base}/")];
    if base == CLOUD {
        starts.extend(CLOUD_SSH.map(str::to_owned));
    }
    let rewrite = |start: String| {
        let why = match start.starts_with("https://") {
            true => NEEDS_GIT,
            false => "git uses the helper for addresses of this form, in every repository",
        };
        Request {
            is_single: false,
            ..request(format!("url.bbtoken::{host}.insteadOf"), &start, why)
        }
    };
    starts.into_iter().map(rewrite).collect()
}
