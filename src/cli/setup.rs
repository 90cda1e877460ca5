//! `git bbtoken setup` and `unsetup`: git's configuration, changed in the open and taken back exactly.
//!
//! What was added is noted in `bbtoken.addedBySetup`, in the same file, so that it goes wherever the file goes.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    Console, arguments,
    chain::{self, Chain},
    git::{Change, Target, apply_all},
    usage,
};
use crate::{
    app::{self, App},
    failure::quote,
    git_config::{self, Entry, Scope, process_variable},
    http::Url,
    profile,
};

/// Where it is noted.
const NOTE: &str = "bbtoken.addedBySetup";
/// What the note says of the file itself, where there was none.
const WHOLE_FILE: &str = "this file";
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
pub(super) const NEEDS_GIT: &str = "git uses the helper for https addresses; cargo then needs net.git-fetch-with-cli = true, and poetry system-git-client = true; a program with a git of its own (libgit2, gix, dulwich) cannot use them: see docs/programs.md";
/// How long one setup waits for others; each takes some tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// A setting that is wanted, and why.
struct Request {
    key: String,
    value: String,
    why: &'static str,
    /// A value of the user's own is respected; else ours is added to what is there.
    is_single: bool,
}

/// A change, and why it is made.
type Reasoned = (Change, &'static str);

/// What git reads of the user's configuration, and what the user's own file holds of it.
struct There<'e> {
    /// The machine's and the user's settings, with included files, as they are outside of repositories.
    entries: Vec<&'e Entry>,
    /// The lines of the file that is written to.
    own: Vec<(String, String)>,
}

impl There<'_> {
    fn own_has(&self, key: &str, value: &str) -> bool {
        let mut own = self.own.iter();
        own.any(|(name, its)| same_key(name, key) && its == value)
    }

    /// First comes the note: unsetup knows of everything that is ever added.
    fn add(&self, key: String, value: String, why: &'static str) -> Vec<Reasoned> {
        let note = format!("{key}={value}");
        let mut changes = Vec::new();
        if !self.own_has(NOTE, &note) {
            changes.push((noted(note), "unsetup removes exactly this"));
        }
        changes.push((Change::Add { key, value }, why));
        changes
    }
}

pub(super) fn run(options: &arguments::Setup, console: &mut Console<'_>) -> anyhow::Result<()> {
    let _alone = alone(&options.consent);
    let own = Target::Global.matching(".")?;
    let app = App::read_of_user()?;
    let there = There {
        entries: of_user(&app),
        own,
    };
    let ask = app::credential_helper().context("cannot find git-bbtoken itself")?;
    let sites = sites(&app);
    let mut changes = missing(vec![submodules()], &there, console);
    for site in &sites {
        changes.extend(answering(site, &ask, &there));
        changes.extend(missing(asked_well(site), &there, console));
    }
    changes.extend(missing(rewritten(&app, options), &there, console));
    let large_files = app::lfs_here();
    if changes.is_empty() && large_files.is_empty() {
        return console.answer("Git is set up already; nothing to change.");
    }
    for (change, why) in &changes {
        if change.key() == NOTE {
            continue;
        }
        for line in change.lines() {
            console.answer(&line)?;
        }
        console.answer(&format!("      {why}"))?;
    }
    for (key, address) in large_files.iter().flat_map(|wiring| wiring.addresses()) {
        console.answer(&format!("+ {} = {}", quote(&key), quote(address)))?;
        console.answer(
            "      git-lfs finds the files of this repository; set in this repository only",
        )?;
    }
    if !may_write(
        &options.consent,
        console,
        "Write this to your git configuration?",
    )? {
        return Ok(());
    }
    let of_file = file()
        .filter(|file| !file.exists())
        .map(|_| noted(WHOLE_FILE.to_owned()));
    let changes: Vec<_> = of_file
        .into_iter()
        .chain(changes.into_iter().map(|(change, _)| change))
        .map(|change| (Target::Global, change))
        .collect();
    apply_all(&changes)?;
    // With what is set up now, the rest is the user's own setting already.
    app::lfs_here()
        .iter()
        .try_for_each(|wiring| wiring.write(Duration::ZERO))?;
    let app = App::read_of_user()?;
    for site in &sites {
        if !is_answering(&of_user(&app), site) {
            (console.warn)(&format!(
                "another credential helper still comes after ours for {}: in your git configuration, move the section of our helper to the end",
                app::site(site)
            ));
        }
    }
    console.answer("Git is set up; 'git bbtoken unsetup' undoes this.")
}

/// Gives the settings that hold in every repository of the user.
pub(super) fn of_user(app: &App) -> Vec<&Entry> {
    let of_user = |entry: &&Entry| matches!(entry.scope, Scope::System | Scope::Global);
    app.settings().filter(of_user).collect()
}

/// Finds what of the wishes is not there yet, each change with its reason, and tells what the user has set differently.
fn missing(wishes: Vec<Request>, there: &There<'_>, console: &mut Console<'_>) -> Vec<Reasoned> {
    let mut changes = Vec::new();
    for Request {
        key,
        value,
        why,
        is_single,
    } in wishes
    {
        let of_key = |entry: &&&Entry| same_key(&entry.name(), &key);
        let is_value = |entry: &Entry| entry.value.as_deref() == Some(value.as_str());
        let entries: Vec<_> = there.entries.iter().filter(of_key).collect();
        let is_there = match is_single {
            true => entries.last().is_some_and(|entry| is_value(entry)),
            false => entries.iter().any(|entry| is_value(entry)),
        };
        if is_there {
            continue;
        }
        let of_person = entries.iter().rfind(|entry| entry.scope == Scope::Global);
        if let Some(own) = of_person.filter(|_| is_single) {
            console.tell(&format!(
                "not changed: {key} = {} (setup would set {value}: {why})",
                own.value.as_deref().unwrap_or_default()
            ));
            continue;
        }
        changes.extend(there.add(key, value, why));
    }
    changes
}

/// Tells whether our helper answers for a site, alone, and its program is there.
fn is_answering(entries: &[&Entry], site: &Url) -> bool {
    let chains = Chain::all(entries, site);
    let is_alone =
        matches!(&chains[0].0[..], [only] if chain::missing_program(chain::helper(only)).is_none());
    is_alone && chains.iter().all(Chain::is_closed)
}

/// Makes us the one credential helper of a site, also for git-lfs.
///
/// Ours has to stand after all others, so what an earlier setup wrote before another helper is written anew.
fn answering(site: &Url, ask: &str, there: &There<'_>) -> Vec<Reasoned> {
    // Git takes both for the same site, but a line is put where the section of its spelling is.
    let spellings = ["", "/"].map(|end| format!("credential.{}{end}.helper", app::site(site)));
    let is_noted = |(key, value): &(&String, &String)| {
        there.own_has(NOTE, &format!("{key}={value}"))
            && spellings.iter().any(|spelling| same_key(spelling, key))
    };
    let lines = there.own.iter().map(|(key, value)| (key, value));
    let mut old: Vec<_> = lines.filter(is_noted).collect();
    old.dedup();
    let is_stale = old
        .iter()
        .any(|(_, value)| !value.is_empty() && *value != ask);
    if is_answering(&there.entries, site) && !is_stale {
        return Vec::new();
    }
    let mut changes = Vec::new();
    let [plain, other] = &spellings;
    let key = match is_too_early(plain, &old, site, there) {
        true => other,
        false => plain,
    };
    for (its, value) in &old {
        let (its, value) = ((*its).clone(), (*value).clone());
        if !same_key(&its, key) || !["", ask].contains(&value.as_str()) {
            let value = format!("{its}={value}");
            let key = NOTE.to_owned();
            changes.push((
                Change::Remove { key, value },
                "the record of a removed entry",
            ));
        }
        let why = "an earlier setup wrote this; the lines below replace it";
        changes.push((Change::Remove { key: its, value }, why));
    }
    let why = "for this site, git asks no other helper, and no other helper stores our tokens";
    changes.extend(there.add(key.clone(), String::new(), why));
    let why = "git's own https and git-lfs get tokens from us";
    changes.extend(there.add(key.clone(), ask.to_owned(), why));
    changes
}

/// Tells whether git would put a line of this key before another helper of the site, because its section is there.
fn is_too_early(key: &str, old: &[(&String, &String)], site: &Url, there: &There<'_>) -> bool {
    let (section, subsection, _) = parts(key);
    let last =
        |is_it: &dyn Fn(&Entry) -> bool| there.entries.iter().rposition(|entry| is_it(entry));
    let is_old = |entry: &Entry| {
        let mut old = old.iter();
        old.any(|(key, value)| {
            same_key(key, &entry.name()) && entry.value.as_deref() == Some(value.as_str())
        })
    };
    let is_there = |entry: &Entry| {
        entry.section == section
            && entry.subsection.as_deref() == Some(subsection)
            && !is_old(entry)
    };
    let is_other =
        |entry: &Entry| chain::is_helper(entry) && chain::is_about(entry, site) && !is_old(entry);
    last(&is_there).is_some_and(|place| last(&is_other).is_some_and(|other| place < other))
}

fn noted(value: String) -> Change {
    Change::Add {
        key: NOTE.to_owned(),
        value,
    }
}

pub(super) fn undo(options: &arguments::Consent, console: &mut Console<'_>) -> anyhow::Result<()> {
    let _alone = alone(options);
    let there = Target::Global.matching(".")?;
    let mut notes = Vec::new();
    for (_, note) in there.iter().filter(|(key, _)| same_key(key, NOTE)) {
        if let Some(setting) = note.split_once('=')
            && !notes.contains(&(note, setting))
        {
            notes.push((note, setting));
        }
    }
    if notes.is_empty() {
        return console.answer("Setup has added nothing; nothing to undo.");
    }
    let mut changes = Vec::new();
    for (note, (key, value)) in notes.iter().rev() {
        let (key, value) = ((*key).to_owned(), (*value).to_owned());
        if there
            .iter()
            .any(|(name, its)| same_key(name, &key) && *its == value)
        {
            let change = Change::Remove { key, value };
            for line in change.lines() {
                console.answer(&line)?;
            }
            changes.push((Target::Global, change));
        }
        let note = Change::Remove {
            key: NOTE.to_owned(),
            value: (*note).clone(),
        };
        changes.push((Target::Global, note));
    }
    let made_by_setup = there
        .iter()
        .any(|(key, note)| same_key(key, NOTE) && note == WHOLE_FILE);
    if made_by_setup {
        let note = Change::Remove {
            key: NOTE.to_owned(),
            value: WHOLE_FILE.to_owned(),
        };
        changes.push((Target::Global, note));
    }
    if !may_write(options, console, "Remove this from your git configuration?")? {
        return Ok(());
    }
    apply_all(&changes)?;
    if made_by_setup && let Some(file) = file() {
        remove_empty(&file);
    }
    console.answer("Git's configuration is as it was before setup.")
}

/// Finds the file that `git config --global` writes to.
fn file() -> Option<PathBuf> {
    git_config::user_file(&process_variable)
}

/// Removes the file that setup made, unless something else has come into it; a link to it stays.
fn remove_empty(file: &Path) {
    if let Ok(file) = file.canonicalize()
        && fs::metadata(&file).is_ok_and(|metadata| metadata.len() == 0)
    {
        // An empty file is as good as none to git.
        let _ = fs::remove_file(file);
    }
}

/// Keeps other setups out from reading to writing, until it is dropped: the jobs of a runner may begin with one each.
///
/// A person who is asked takes too long for that, and is alone. Locked is the directory of the file, as git replaces the
/// file itself; where that cannot be done, git's own lock is all there is, and git says so.
fn alone(consent: &arguments::Consent) -> Option<File> {
    let file = file().filter(|_| consent.yes)?;
    let directory = File::open(file.parent()?).ok()?;
    let end = Instant::now() + PATIENCE;
    while matches!(directory.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < end {
        thread::sleep(PAUSE);
    }
    Some(directory)
}

/// Asks whether what was shown may be written; a script has to say so itself.
pub(super) fn may_write(
    options: &arguments::Consent,
    console: &mut Console<'_>,
    question: &str,
) -> anyhow::Result<bool> {
    if options.dry_run {
        console.tell("Nothing was written.");
        return Ok(false);
    }
    if options.yes {
        return Ok(true);
    }
    if !console.is_interactive {
        return Err(usage(
            "cannot ask for confirmation without a terminal; nothing was changed; give --yes to write this",
        ));
    }
    let agreed = console.confirm(question)?;
    if !agreed {
        console.tell("Nothing was written.");
    }
    Ok(agreed)
}

/// Gives each host that a profile is for.
pub(super) fn sites(app: &App) -> Vec<Url> {
    let mut sites: Vec<_> = app.bases.iter().map(app::site).collect();
    sites.sort();
    sites.dedup();
    let parse = |site: &String| Url::parse(site).ok();
    sites.iter().filter_map(parse).collect()
}

fn submodules() -> Request {
    request(
        "protocol.bbtoken.allow".into(),
        "always",
        "git may clone submodules with bbtoken:: addresses",
    )
}

fn rewritten(app: &App, options: &arguments::Setup) -> Vec<Request> {
    let bases = app
        .bases
        .iter()
        .map(|base| base.as_str().trim_end_matches('/'));
    let mut wishes: Vec<_> = bases.clone().filter_map(without_www).collect();
    // Of two sites, an address without its host is either's.
    let is_only = app.bases.iter().all(|base| base == app.base());
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

fn request(key: String, value: &str, why: &'static str) -> Request {
    Request {
        key,
        value: value.to_owned(),
        why,
        is_single: true,
    }
}

/// Lets git and git-lfs ask so that the right profile answers.
fn asked_well(site: &Url) -> Vec<Request> {
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

/// Compares keys as git does: section and name without case, the subsection with it.
pub(super) fn same_key(one: &str, other: &str) -> bool {
    parts(one) == parts(other)
}

fn parts(key: &str) -> (String, &str, String) {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let (subsection, name) = rest.rsplit_once('.').unwrap_or(("", rest));
    (
        section.to_ascii_lowercase(),
        subsection,
        name.to_ascii_lowercase(),
    )
}
