//! Refusals of the git endpoint, with the messages of Bitbucket and of gateways.

use std::path::Path;

use bitbucket_local::{Kind, Rule};

use super::{Transcript, is_expected, world};
use crate::support::World;

/// What a server answers, about what, and whether it is to a push.
struct Refusal {
    about: &'static str,
    is_push: bool,
    rule: Rule,
}

const NO_ACCESS: &str = "You may not have access to this repository or it no longer exists in this workspace. If you think this \
                         repository exists and you have access, make sure you are authenticated.";
const NO_SCOPE: &str = "Your credentials lack one or more required privilege scopes.";

fn plain(about: &'static str, status: u16, words: &str) -> Refusal {
    let rule = Rule::answer(status).header("Content-Type", "text/plain");
    Refusal {
        about,
        is_push: false,
        rule: rule.body(words),
    }
}

fn page(about: &'static str, status: u16, body: &str) -> Refusal {
    let rule = Rule::answer(status).header("Content-Type", "text/html; charset=utf-8");
    Refusal {
        about,
        is_push: false,
        rule: rule.body(body),
    }
}

impl Refusal {
    fn of_push(self) -> Self {
        Refusal {
            is_push: true,
            ..self
        }
    }

    fn with(self, change: impl FnOnce(Rule) -> Rule) -> Self {
        Refusal {
            rule: change(self.rule),
            ..self
        }
    }
}

fn refusals() -> Vec<Refusal> {
    let scopes = r#"{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","detail":{"granted":["account"],"required":["repository"]}}}"#;
    vec![
        plain(
            "a refused token, and its refused replacement",
            401,
            NO_ACCESS,
        )
        .with(|rule| rule.times(2)),
        plain("the same for a push", 401, NO_ACCESS)
            .with(|rule| rule.times(2))
            .of_push(),
        plain("a token without the scope to read", 403, NO_SCOPE),
        plain("a token without the scope to write", 403, NO_SCOPE).of_push(),
        Refusal {
            about: "the same as the REST API words it",
            is_push: false,
            rule: Rule::answer(403)
                .header("Content-Type", "application/json")
                .body(scopes),
        },
        plain(
            "a workspace that accepts only listed IP addresses",
            403,
            "To access this repository, an admin must whitelist your IP.",
        ),
        plain(
            "a workspace that requires two-step verification",
            403,
            "To access this repository, enable two-step authentication.",
        ),
        plain(
            "a missing repository, as a 403",
            403,
            "The requested repository either does not exist or you do not have access. If you believe this repository exists \
             and you have access, make sure you're authenticated.",
        ),
        plain(
            "a repository over its limit",
            403,
            "Repository is in read only mode (over 4 GB size limit).",
        )
        .of_push(),
        plain("a 403 without words", 403, ""),
        plain("a missing repository", 404, "Not Found"),
        plain(
            "an app password",
            410,
            "App passwords are deprecated and must be replaced with API tokens.",
        ),
        plain("a push that is too large", 413, "").of_push(),
        plain(
            "too many requests",
            429,
            "Rate limit for this resource has been exceeded",
        )
        .with(|rule| rule.header("Retry-After", "3600")),
        plain("a server that is down for a while", 503, "")
            .with(|rule| rule.header("Retry-After", "3600")),
        page(
            "an error page of the server",
            500,
            "<title>Bitbucket | Error</title>",
        )
        .with(|rule| rule.forever()),
        page(
            "a captive portal",
            200,
            "<html><title>Welcome to Hotel Wifi</title>",
        ),
        page("a page without a title", 200, "<html></html>"),
        page(
            "a proxy that forbids",
            403,
            "<title>Blocked by Example Corp</title>",
        ),
        page("a sign-on page on another host", 302, "").with(|rule| {
            rule.header(
                "Location",
                "https://login.example.com/saml?return=/ws/repo.git&token=x",
            )
        }),
        page("a sign-on page on the same host", 302, "")
            .with(|rule| rule.header("Location", "/account/signin/?next=/ws/repo.git")),
        page("too many redirects", 302, "")
            .with(|rule| rule.header("Location", "/ws/repo.git/info/refs").forever()),
    ]
}

fn refuse(world: &World, tree: &Path, refusal: &Refusal, said: &mut Transcript<'_>) {
    world.bitbucket.clear_script();
    world.bitbucket.script(refusal.rule.clone().kind(Kind::Git));
    let line: &[&str] = match refusal.is_push {
        true => &["push", "-q"],
        false => &["ls-remote", "bbtoken::ws/repo"],
    };
    let done = world.git(line).within(tree).without_memory().done();
    said.text.push_str(&format!("# {}\n", refusal.about));
    said.note(&format!("git {}", line.join(" ")), &done);
    assert_eq!(done.code, Some(128), "{}", refusal.about);
    assert!(!done.stderr.contains("token=x"), "{}", done.stderr);
}

#[test]
fn of_the_git_endpoint() {
    let world = world();
    let tree = world.clone_of_new("ws", "repo");
    world.commit(&tree, "file", "two\n");
    let mut said = Transcript::new(&world);
    let refusals = refusals();
    for refusal in &refusals {
        refuse(&world, &tree, refusal, &mut said);
    }
    assert_eq!(refusals.len(), 22);
    is_expected(
        &expect_test::expect_file!["../expected/errors-refused.txt"],
        &said.text,
    );
}
