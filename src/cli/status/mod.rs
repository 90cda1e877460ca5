//! `git bbtoken status`: shows the configured and the saved data of profiles, and the origin of each setting. It makes
//! no request.

mod glance;
mod view;

use serde_json::json;

use super::{Console, VERSION, arguments};
use crate::{app::App, profile, report};
use view::View;

pub(super) fn run(options: &arguments::Status, console: &mut Console<'_>) -> anyhow::Result<()> {
    console.color(&options.color);
    let app = App::read()?;
    for unknown in app.raw.unknown() {
        report::warn(&unknown.text());
    }
    if let Some(address) = &options.explain {
        let found = app.explain(address)?;
        return console.answer(&format!(
            "{} uses profile '{}' because {}",
            found.repository, found.profile, found.why
        ));
    }
    let mut names = profile::names(&app.raw);
    if let Some(name) = &options.profile.name {
        profile::named(&app.raw, name, "the command line")?;
        names.retain(|known| known == name);
    }
    let now_unix_s = app.now_unix_s();
    let views: Vec<_> = names.iter().map(|name| View::of(&app, name)).collect();
    if options.json {
        let profiles: Vec<_> = views.iter().map(|view| view.json(now_unix_s)).collect();
        let all =
            json!({ "version": VERSION, "base_url": app.base().as_str(), "profiles": profiles });
        return console.answer_json(all);
    }
    let is_at_base = |view: &View| view.site.is_none();
    if options.verbose && (views.is_empty() || views.iter().any(is_at_base)) {
        let name = app.places[0].product.words().name;
        console.answer(&format!("{name} is at {}", app.base()))?;
    }
    if views.is_empty() {
        let text = "No profile is configured; 'git bbtoken login' creates one.";
        console.answer(&report::for_this_user(text))?;
    }
    if !options.verbose {
        return glance(&app, &views, now_unix_s, console);
    }
    for view in &views {
        console.answer("")?;
        for line in view.lines(now_unix_s) {
            console.answer(&line)?;
        }
    }
    Ok(())
}

/// Shows each profile in one line. A line marks the one that git uses here, if there are several.
fn glance(
    app: &App,
    views: &[View],
    now_unix_s: u64,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let used = app.explain_here().ok().filter(|_| views.len() > 1);
    let used = used.as_ref().map(|(name, _)| name.as_str());
    let (lines, are_good) = glance::lines(views, used, now_unix_s, console.style);
    for line in &lines {
        console.answer_marked(line)?;
    }
    // A line about a problem already names a command.
    let is_seen = console.is_interactive && console.is_output_a_terminal;
    if are_good && !views.is_empty() && is_seen {
        console.tell(&format!(
            "Not checked at Bitbucket; to check: git bbtoken doctor <{}>/<repository>",
            views[0].space()
        ));
    }
    Ok(())
}
