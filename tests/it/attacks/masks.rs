//! No output shows a secret in the wrong place: in a command, an address, a name, an argument or a setting.

use std::{cell::Cell, fs};

use crate::support::{World, on_every_git};

/// As Bitbucket's client secrets look.
const SECRET: &str = "q0JYbbxVam1FR1bRVDSNQuEvvhSjt7Ff";
/// As access tokens look.
const TOKEN: &str = "ATCTT3xFfGN0canaryCanary0123456789";
const PASSWORD: &str = "canary-4f1c";

fn commands() -> Vec<Vec<&'static str>> {
    [
        "status",
        "status --json",
        "status --explain ws/repo",
        "doctor",
        "doctor --report",
        "token",
        "exec -- true",
        "logout",
        "logout --all",
        "use work --here",
        "setup --dry-run",
        "setup --everywhere --dry-run",
        "unsetup --dry-run",
        "remote convert --dry-run",
        "login --client-credentials",
    ]
    .iter()
    .map(|line| line.split(' ').collect())
    .collect()
}

/// Each of so many rows is tried with the gits after the first: what our programs print does not depend on git, which
/// only hands the settings over.
const SAMPLE: usize = 6;

/// The rows of a table in one world.
struct Rows<'a> {
    world: &'a World,
    number: Cell<usize>,
}

impl<'a> Rows<'a> {
    fn new(world: &'a World) -> Self {
        let number = Cell::new(0);
        Rows { world, number }
    }

    #[track_caller]
    fn show_nothing(&self, settings: &[(&str, &str)], variables: &[(&str, &str)]) {
        let number = self.number.replace(self.number.get() + 1);
        if self.world.has_first_git() || number.is_multiple_of(SAMPLE) {
            shows_nothing(self.world, settings, variables);
        }
    }
}

/// Runs every subcommand and the helper with settings; no output and no trace shows a canary.
#[track_caller]
fn shows_nothing(world: &World, settings: &[(&str, &str)], variables: &[(&str, &str)]) {
    let tree = world.path("tree");
    let trace = world.path("trace");
    let mut runs = Vec::new();
    let mut all = commands();
    all.push(vec!["ls-remote"]);
    for arguments in all {
        let mut run = world.git(Vec::<&str>::new());
        for (key, value) in settings {
            run = run.arg("-c").arg(format!("{key}={value}"));
        }
        if arguments[0] == "ls-remote" {
            run = run.args(["ls-remote", "bbtoken::ws/repo"]);
        } else {
            run = run.arg("bbtoken").args(arguments);
        }
        let is_client = settings.iter().any(|(key, _)| key.ends_with(".clientId"));
        run = if is_client { run.without_client() } else { run };
        run = run.env("BBTOKEN_TRACE", format!("2,{}", trace.display()));
        for (name, value) in variables {
            run = run.env(name, value);
        }
        runs.push(run.input("").within(&tree).done());
    }
    let traced = fs::read_to_string(&trace).unwrap_or_default();
    for canary in [SECRET, TOKEN, PASSWORD] {
        assert!(
            !traced.contains(canary),
            "{settings:?} {variables:?}: {traced}"
        );
        for done in &runs {
            assert!(
                !done.stdout.contains(canary) && !done.stderr.contains(canary),
                "{settings:?} {variables:?}: {}\n{}",
                done.stdout,
                done.stderr.replace(&done.shown, "")
            );
        }
    }
}

#[test]
fn a_secret_in_the_place_of_another_setting_is_not_shown() {
    on_every_git(|world| {
        world.git(["init", "-q", "tree"]).ok();
        let rows = Rows::new(world);
        let base = world.bitbucket.base_url();
        let with_password = base.replace("https://", &format!("https://u:{PASSWORD}@"));
        let work = |settings: &[(&str, &str)]| {
            let mut all = vec![("bbtoken.work.clientId", "some-key")];
            all.extend(settings);
            rows.show_nothing(&all, &[]);
        };
        for command in [
            format!("nothing --token {PASSWORD}"),
            format!("false {PASSWORD}"),
            format!("!echo {PASSWORD} >/dev/null; false"),
            format!("TOKEN={PASSWORD} false"),
            format!("'{PASSWORD}"),
            SECRET.to_owned(),
            TOKEN.to_owned(),
        ] {
            work(&[("bbtoken.work.clientSecretCommand", &command)]);
            work(&[
                ("bbtoken.work.accessTokenCommand", &command),
                ("bbtoken.work.grant", "token"),
            ]);
        }
        // Id and secret are swapped.
        rows.show_nothing(
            &[
                ("bbtoken.work.clientId", SECRET),
                ("bbtoken.work.clientSecretCommand", "echo key"),
            ],
            &[],
        );
        rows.show_nothing(
            &[],
            &[
                ("BBTOKEN_CLIENT_ID", SECRET),
                ("BBTOKEN_CLIENT_SECRET", "k"),
            ],
        );
        rows.show_nothing(&[], &[("BBTOKEN_CLIENT_ID", &world.consumer.secret)]);
        for url in [
            with_password.as_str(),
            &format!("http://u:{PASSWORD}@bitbucket.example"),
            &format!("https://u:x y'{PASSWORD}@bitbucket.example/?a"),
            &format!("htps:/u:{PASSWORD}@bitbucket.example"),
            &format!("https://bitbucket.example/?access_token={PASSWORD}"),
            &format!("https://{TOKEN}@bitbucket.example"),
        ] {
            for name in ["baseUrl", "tokenUrl", "authorizeUrl"] {
                work(&[(&format!("bbtoken.work.{name}"), url)]);
            }
            for name in ["BBTOKEN_BASE_URL", "BBTOKEN_TOKEN_URL"] {
                rows.show_nothing(&[], &[(name, url)]);
            }
        }
        for name in ["grant", "store", "transport", "pushProfile"] {
            for value in [SECRET, TOKEN] {
                work(&[(&format!("bbtoken.work.{name}"), value)]);
            }
        }
        for name in ["BBTOKEN_STORE", "BBTOKEN_TRANSPORT"] {
            rows.show_nothing(&[], &[(name, SECRET)]);
            rows.show_nothing(&[], &[(name, TOKEN)]);
        }
        let named = format!("BBTOKEN_{TOKEN}");
        rows.show_nothing(
            &[
                ("bbtoken.work.clientId", "some-key"),
                ("bbtoken.work.clientSecret", SECRET),
                ("bbtoken.work.password", PASSWORD),
                (&format!("bbtoken.work.{SECRET}"), TOKEN),
                (&format!("bbtoken.{TOKEN}.nothing"), PASSWORD),
            ],
            &[("BBTOKEN_SECRET", SECRET), (&named, PASSWORD)],
        );
        rows.show_nothing(&[("bbtoken.profile", SECRET)], &[("BBTOKEN_CLIENT_ID", "")]);
    });
}

#[test]
fn a_secret_in_gits_own_settings_is_not_shown() {
    on_every_git(|world| {
        world.git(["init", "-q", "tree"]).ok();
        let rows = Rows::new(world);
        for proxy in [
            format!("http://u:{PASSWORD}@127.0.0.1:1"),
            format!("http://u:x y{PASSWORD}@127.0.0.1:1"),
            format!("u:{PASSWORD}@127.0.0.1:1"),
            format!("odd://u:{PASSWORD}@127.0.0.1:1"),
        ] {
            rows.show_nothing(&[("http.proxy", &proxy)], &[]);
            rows.show_nothing(&[], &[("HTTPS_PROXY", &proxy)]);
        }
        for (key, value) in [
            (
                "http.extraHeader",
                format!("Authorization: Basic {PASSWORD}"),
            ),
            ("http.extraHeader", format!("X-Token {PASSWORD}")),
            ("http.cookieFile", format!("/nowhere?token={PASSWORD}")),
            ("credential.helper", format!("!echo password={PASSWORD}")),
            (
                "remote.origin.url",
                format!("https://u:{PASSWORD}@bitbucket.org/ws/r"),
            ),
            (
                "remote.origin.url",
                format!("https://{TOKEN}@bitbucket.org/ws/r"),
            ),
            (
                "lfs.url",
                format!("https://u:{PASSWORD}@bitbucket.org/ws/r"),
            ),
        ] {
            rows.show_nothing(&[(key, &value)], &[]);
        }
    });
}

#[test]
fn a_secret_in_an_address_or_an_argument_is_not_shown() {
    on_every_git(|world| {
        for address in [
            format!("https://{TOKEN}@bitbucket.org/ws"),
            format!("https://{SECRET}@bitbucket.org/ws/r"),
            format!("https://u:{PASSWORD}@bitbucket.org/ws/r"),
            format!("https://u:a b/{PASSWORD}@bitbucket.org/ws/r"),
            format!("bbtoken::{TOKEN}@ws/r"),
            format!("bbtoken::{SECRET}@ws/r"),
            format!("bbtoken::u:{PASSWORD}@ws/r"),
            format!("bbtoken::https://u:{PASSWORD}@bitbucket.org/ws/r"),
            format!("bbtoken://{TOKEN}@ws/r"),
        ] {
            let lines = [
                vec!["doctor", &address],
                vec!["status", "--explain", &address],
                vec!["login", "--try", &address],
            ];
            for arguments in lines {
                nothing(&world.bbtoken(arguments).input("").done());
            }
            let address = match address.starts_with("bbtoken:") {
                true => address,
                false => format!("bbtoken::{address}"),
            };
            let done = world.git(["ls-remote", &address]).done();
            // Git itself may repeat what was typed; what the helper says begins with its own words.
            let ours = done
                .stderr
                .lines()
                .filter(|line| line.starts_with("error: "));
            let ours: Vec<_> = ours.collect();
            assert!(!ours.is_empty(), "{done:?}");
            for line in ours {
                assert!(
                    ![SECRET, TOKEN, PASSWORD].iter().any(|it| line.contains(it)),
                    "{line}"
                );
            }
        }
        let option = format!("--client-secret={PASSWORD}");
        let value = format!("--port={TOKEN}");
        for arguments in [
            &["token", PASSWORD][..],
            &["token", "--profile", SECRET],
            &["token", "--profile", TOKEN],
            &["status", SECRET],
            &["logout", TOKEN],
            &["login", TOKEN],
            &["login", SECRET, PASSWORD],
            &["login", "--client-secret", PASSWORD],
            &["login", &option],
            &["login", &value],
            &[
                "login",
                "--store",
                SECRET,
                "--client-credentials",
                "--client-id",
                "x",
            ],
            &["setup", PASSWORD],
            &["help", TOKEN],
            &["help", SECRET],
            &["login", &format!("--token={SECRET}")],
            &["login", "--token", PASSWORD],
            &["credential", "get", PASSWORD],
            &[TOKEN],
            &[SECRET],
        ] {
            nothing(&world.bbtoken(arguments.iter()).input("").done());
        }
    });
}

#[track_caller]
fn nothing(done: &crate::support::Done) {
    for canary in [SECRET, TOKEN, PASSWORD] {
        assert!(
            !done.stdout.contains(canary) && !done.stderr.contains(canary),
            "{}: {}{}",
            done.shown,
            done.stdout,
            done.stderr
        );
    }
}
