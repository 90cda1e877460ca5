//! The owner of the token: each command uses the right profile, as it is defined.

use std::{fs, path::Path};

use bitbucket_local::{Bitbucket, Consumer, Options};

use crate::{
    person::{configure, configure_client, configure_login, git, manage, person},
    support::{Git, Run, World, gits, on_every_git},
};

/// What a CI system may have set: a token or a client of another account. The server knows neither.
const OF_OTHERS: [&[(&str, &str)]; 2] = [
    &[("BBTOKEN_ACCESS_TOKEN", "canary-of-another")],
    &[
        ("BBTOKEN_CLIENT_ID", "canary-id"),
        ("BBTOKEN_CLIENT_SECRET", "canary-secret"),
    ],
];

fn with(run: Run, variables: &[(&str, &str)]) -> Run {
    let run = run.without_client();
    variables
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value))
}

/// Logs the profile `bot` in with a token that may push; gives the token.
fn log_bot_in(world: &World) -> String {
    let scopes = ["account", "repository", "repository:write"];
    let token = world.bitbucket.issue_access_token(&scopes);
    let login = world.bbtoken(["login", "bot", "--with-token"]);
    login.without_client().input(&token).ok();
    token
}

#[test]
fn a_named_profile_uses_its_own_token_whatever_is_in_the_environment() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let token = log_bot_in(world);
        let tree = world.clone("ws/repo", "tree");
        for variables in OF_OTHERS {
            let bbtoken = |arguments: &[&str]| with(world.bbtoken(arguments), variables);
            let named = bbtoken(&["token", "--profile", "bot"]).ok();
            assert_eq!(named.trim_end(), token, "{variables:?}");
            let by_variable = bbtoken(&["token"]).env("BBTOKEN_PROFILE", "bot").ok();
            assert_eq!(by_variable.trim_end(), token, "{variables:?}");
            let exec = [
                "exec",
                "--profile",
                "bot",
                "--",
                "printenv",
                "BBTOKEN_ACCESS_TOKEN",
            ];
            assert_eq!(bbtoken(&exec).ok().trim_end(), token, "{variables:?}");
            let git = |arguments: &[&str]| with(world.git(arguments), variables).within(&tree);
            git(&["ls-remote", "bbtoken::bot@ws/repo"]).ok();
            git(&["-c", "remote.origin.bbtokenProfile=bot", "fetch"]).ok();
            git(&["fetch"]).env("BBTOKEN_PROFILE", "bot").ok();
            let selected = ["-c", "bbtoken.profile=bot", "fetch"];
            git(&selected).env("BBTOKEN_PROFILE", "bot").ok();
        }
        // A push, too. The profile that fetches is the other one, which works.
        configure(world, "reader", &[("pushProfile", "bot")]);
        configure(world, "reader", &[("clientId", &world.consumer.key)]);
        world.commit(&tree, "file", "two\n");
        let push = world.git(["push", "-q", "bbtoken::reader@ws/repo", "HEAD:main"]);
        let push = push.env("BBTOKEN_ACCESS_TOKEN", "canary-of-another");
        push.within(&tree).ok();
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
    });
}

#[test]
fn a_client_or_token_in_the_environment_is_used_where_no_profile_is_named() {
    let world = World::new(gits().remove(0));
    log_bot_in(&world);
    let token = world.bbtoken(["token"]).without_client();
    let token = token.env("BBTOKEN_ACCESS_TOKEN", "from-the-environment");
    assert_eq!(token.ok(), "from-the-environment\n");
    // A name that no profile has is the name of what is in the environment.
    let client = world.bbtoken(["token"]).env("BBTOKEN_PROFILE", "ci").ok();
    assert!(!client.is_empty());
    let kept = world.bbtoken(["token", "--profile", "bot"]).ok();
    assert_ne!(kept, client);
}

/// A way to select the profile `b`, and what it writes.
type Selection = (&'static str, fn(&World, &Path));

fn set(world: &World, arguments: &[&str]) {
    world.git(["config"]).args(arguments).ok();
}

fn set_in(world: &World, tree: &Path, arguments: &[&str]) {
    world.git(["config"]).args(arguments).within(tree).ok();
}

/// Includes a file that selects `b` if a condition holds.
fn include(world: &World, condition: &str) {
    let file = world.path("selects-b");
    fs::write(&file, "[bbtoken]\n\tprofile = b\n").expect("the world can be written");
    let key = format!("includeIf.{condition}.path");
    world.git(["config", "--global", &key]).arg(file).ok();
}

const SELECTIONS: [Selection; 11] = [
    ("the address", |world, tree| {
        set_in(world, tree, &["remote.origin.url", "bbtoken::b@ws/repo"]);
    }),
    ("the address behind an abbreviation", |world, tree| {
        set(
            world,
            &["--global", "url.bbtoken::b@ws/.insteadOf", "mine:"],
        );
        set_in(world, tree, &["remote.origin.url", "mine:repo"]);
    }),
    ("the remote", |world, tree| {
        set_in(world, tree, &["remote.origin.bbtokenProfile", "b"]);
    }),
    ("the branch's remote", |world, tree| {
        set_in(world, tree, &["remote.two.url", "bbtoken::b@ws/repo"]);
        set_in(world, tree, &["branch.main.remote", "two"]);
    }),
    ("the only remote", |world, tree| {
        world
            .git(["remote", "rename", "origin", "other"])
            .within(tree)
            .ok();
        set_in(world, tree, &["--unset", "branch.main.remote"]);
        set_in(world, tree, &["remote.other.bbtokenProfile", "b"]);
    }),
    ("the workspace", |world, _| {
        set(world, &["--global", "bbtoken.b.workspace", "ws"]);
    }),
    ("the user's setting", |world, _| {
        set(world, &["--global", "bbtoken.profile", "b"]);
    }),
    ("the repository's setting", |world, tree| {
        set_in(world, tree, &["bbtoken.profile", "b"]);
    }),
    ("the directory", |world, tree| {
        include(world, &format!("gitdir:{}/", tree.display()));
    }),
    ("the branch", |world, _| include(world, "onbranch:main")),
    ("the remote's URL", |world, _| {
        include(world, "hasconfig:remote.*.url:bbtoken::ws/**");
    }),
];

#[test]
fn every_command_finds_the_same_profile_in_the_same_directory() {
    let git = gits().remove(0);
    for (selection, select) in SELECTIONS {
        let world = &World::new(git.clone());
        world.repository("ws", "repo");
        let clients = ["a", "b"].map(|name| {
            let client = Consumer::new_private();
            configure_client(world, name, &client);
            (name, client.key)
        });
        set(world, &["--global", "bbtoken.profile", "a"]);
        world.bbtoken(["setup", "--yes"]).ok();
        let tree = world.path("tree");
        let clone = ["clone", "-q", "bbtoken::ws/repo", "tree"];
        world.git(clone).without_client().ok();
        select(world, &tree);
        let below = tree.join("below");
        fs::create_dir(&below).expect("the world can be written");
        let site = world.bitbucket.base_url();
        let request = |path: &str| {
            let host = site.trim_start_matches("https://");
            format!("protocol=https\nhost={host}\n{path}\n")
        };
        let asked = [request("path=ws/repo.git/info/lfs\n"), request("")];
        let url = format!("{site}/ws/repo.git");
        let fill = |request: &str| world.git(["credential", "fill"]).input(request);
        let get = |request: &str| world.bbtoken(["credential", "get"]).input(request);
        // Each gets a token, since none is kept: the server sees whose client asks.
        let commands: Vec<(&str, Run)> = vec![
            ("fetch", world.git(["fetch"])),
            ("token", world.bbtoken(["token"])),
            ("exec", world.bbtoken(["exec", "--", "true"])),
            ("fill", fill(&asked[0])),
            ("get", get(&asked[0])),
            ("https", world.git(["ls-remote", &url])),
        ];
        let without_path = [
            ("fill without a path", fill(&asked[1])),
            ("get without a path", get(&asked[1])),
        ];
        // Git itself removes the path unless a setting forbids that, as setup does.
        let commands = commands.into_iter().chain(without_path);
        let mut tried = 0;
        for (command, run) in commands {
            world.bitbucket.clear_requests();
            let run = run.without_client().env("BBTOKEN_STORE", "memory");
            run.within(&below).ok();
            let users = world.bitbucket.token_requests();
            let users: Vec<_> = users
                .iter()
                .filter_map(|request| request.user.clone())
                .collect();
            let names: Vec<_> = users
                .iter()
                .filter_map(|user| clients.iter().find(|(_, key)| key == user))
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(names, ["b"], "'{command}', where {selection} selects 'b'");
            tried += 1;
        }
        assert_eq!(tried, 8);
        let remote = world.git(["remote"]).within(&below).ok();
        let remote = match selection {
            "the branch's remote" => "two",
            _ => remote.lines().next().expect("there is one"),
        };
        for (arguments, said) in [
            (
                &["status", "--explain", remote][..],
                "ws/repo uses profile 'b' because ",
            ),
            (&["login"], "Profile 'b' is logged in."),
            (&["doctor"], "profile: 'b' (client-credentials), because "),
            (&["logout"], "profile 'b'"),
        ] {
            let run = world.bbtoken(arguments).without_client();
            let done = run.within(&below).done();
            assert!(
                done.stdout.contains(said),
                "where {selection} selects 'b': {done:?}"
            );
        }
    }
}

#[test]
fn a_directory_without_a_repository_of_the_user_selects_nothing() {
    let world = &World::new(gits().remove(0));
    for name in ["a", "b"] {
        set(
            world,
            &[
                "--global",
                &format!("bbtoken.{name}.accessTokenCommand"),
                &format!("printf token-of-{name}"),
            ],
        );
    }
    set(world, &["--global", "bbtoken.profile", "a"]);
    world.git(["init", "-q", "--bare", "bare"]).ok();
    let bare = world.path("bare");
    set_in(world, &bare, &["bbtoken.profile", "b"]);
    let token = || {
        world
            .bbtoken(["token"])
            .without_client()
            .within(bare.join("refs"))
    };
    assert_eq!(token().ok(), "token-of-b\n");
    // What git does not take for the user's repository counts for no command.
    let ceiling = token().env("GIT_CEILING_DIRECTORIES", &bare);
    assert_eq!(ceiling.ok(), "token-of-a\n");
    set(world, &["--global", "safe.bareRepository", "explicit"]);
    assert_eq!(token().ok(), "token-of-a\n");
    assert_eq!(token().env("GIT_DIR", &bare).ok(), "token-of-b\n");
}

/// Two sites with a profile each, `one` and `two`, and nothing in the environment.
struct Sites {
    world: World,
    other: Bitbucket,
}

impl Sites {
    fn new(git: Git) -> Self {
        let world = World::new(git);
        world.repository("ws", "repo");
        let options = Options {
            git: Some(world.git.program.clone()),
            ..Options::default()
        };
        let other = Bitbucket::start(options).expect("the local Bitbucket starts");
        let copy = other
            .create_repository("ws", "repo")
            .expect("it can be made");
        let push = world.git(["push", "-q"]).arg(copy).arg("HEAD:main");
        push.within(world.path("seed-ws-repo")).ok();
        let sites = Sites { world, other };
        for (name, bitbucket) in [("one", &sites.world.bitbucket), ("two", &sites.other)] {
            let client = Consumer::new_private();
            bitbucket.add_consumer(client.clone());
            let base = bitbucket.base_url();
            let command = format!("printf %s {}", client.secret);
            let settings = [
                ("clientId", client.key.as_str()),
                ("clientSecretCommand", &command),
                ("baseUrl", base),
            ];
            configure(&sites.world, name, &settings);
            let key = format!("http.{base}.sslCAInfo");
            sites
                .world
                .git(["config", "--global", &key])
                .arg(bitbucket.ca_file())
                .ok();
        }
        sites
    }

    fn free(run: Run) -> Run {
        let run = run.without_client().without("BBTOKEN_BASE_URL");
        run.without("GIT_SSL_CAINFO").env("BBTOKEN_STORE", "memory")
    }

    fn git(&self, arguments: &[&str]) -> Run {
        Self::free(self.world.git(arguments))
    }

    /// How many requests each site has got since the last look.
    fn requests(&self) -> [bool; 2] {
        let counts = [&self.world.bitbucket, &self.other].map(|site| !site.requests().is_empty());
        self.world.bitbucket.clear_requests();
        self.other.clear_requests();
        counts
    }
}

const ONE: [bool; 2] = [true, false];
const TWO: [bool; 2] = [false, true];
const NONE: [bool; 2] = [false, false];

#[test]
fn the_site_in_the_address_decides() {
    for git in gits() {
        let sites = Sites::new(git);
        let world = &sites.world;
        let bases = [world.bitbucket.base_url(), sites.other.base_url()];
        let [one, two] = &bases;
        let list = |address: &str| sites.git(&["ls-remote", &format!("bbtoken::{address}")]);
        sites.requests();
        for (base, site) in [(one, ONE), (two, TWO)] {
            let host = base.trim_start_matches("https://");
            for address in [format!("{base}/ws/repo"), format!("{host}/ws/repo.git")] {
                list(&address).ok();
                assert_eq!(sites.requests(), site, "{address}");
                // The setting for every address does not lead it to another site.
                for profile in ["one", "two"] {
                    let setting = format!("bbtoken.profile={profile}");
                    let list = ["-c", &setting, "ls-remote", &format!("bbtoken::{address}")];
                    sites.git(&list).ok();
                    assert_eq!(
                        sites.requests(),
                        site,
                        "{address} with bbtoken.profile={profile}"
                    );
                }
            }
        }
        // A profile of another site that is named.
        let host = two.trim_start_matches("https://");
        let refused = |run: Run| {
            run.fails(128).says(&[
                "error: ",
                &format!(" names profile 'one', which is for {one}, but the address is for {two}; name a profile for that site"),
            ]);
            assert_eq!(sites.requests(), NONE);
        };
        refused(list(&format!("one@{host}/ws/repo")));
        refused(list(&format!("{two}/ws/repo")).env("BBTOKEN_PROFILE", "one"));
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        set_in(
            world,
            &tree,
            &["remote.origin.url", &format!("bbtoken::{two}/ws/repo")],
        );
        set_in(world, &tree, &["remote.origin.bbtokenProfile", "one"]);
        refused(sites.git(&["fetch"]).within(&tree));
        // An address without a host is any site's.
        list("ws/repo")
            .fails(128)
            .says(&["several profiles are configured ('one', 'two')"]);
        list("two@ws/repo").ok();
        assert_eq!(sites.requests(), TWO);
        sites
            .git(&["-c", "bbtoken.profile=one", "ls-remote", "bbtoken::ws/repo"])
            .ok();
        assert_eq!(sites.requests(), ONE);
        // The environment's token is for the site that is configured for every profile.
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let with_token =
            |base: &str| list(&format!("{base}/ws/repo")).env("BBTOKEN_ACCESS_TOKEN", &token);
        set(world, &["--global", "bbtoken.baseUrl", one]);
        with_token(one).ok();
        assert!(world.bitbucket.token_requests().is_empty());
        assert_eq!(sites.requests(), ONE);
        with_token(two).ok();
        assert!(
            !sites.other.token_requests().is_empty(),
            "profile 'two' gets its own token"
        );
        assert_eq!(sites.requests(), TWO);
    }
}

#[test]
fn an_address_of_a_site_without_a_profile_is_an_error_that_says_how_to_make_one() {
    let sites = Sites::new(gits().remove(0));
    let world = &sites.world;
    let two = sites.other.base_url();
    sites.requests();
    let list = |base: &str| sites.git(&["ls-remote", &format!("bbtoken::{base}/ws/repo")]);
    list("https://bitbucket.org").fails(128).says(&[
        "error: no profile is configured for https://bitbucket.org\n",
        "hint: to create one: git config --global bbtoken.<profile>.baseUrl https://bitbucket.org && git bbtoken login <profile>\n",
    ]);
    list("http://localhost:9")
        .fails(128)
        .says(&["its host is not a configured Bitbucket site"]);
    set(world, &["--global", "--remove-section", "bbtoken.two"]);
    set(world, &["--global", "bbtoken.baseUrl", two]);
    list(two)
        .fails(128)
        .says(&[&format!("error: no profile is configured for {two}\n")]);
    assert_eq!(sites.requests(), NONE);
    // As the hint says.
    set(world, &["--global", "bbtoken.new.baseUrl", two]);
    let client = sites.other.consumer();
    let login = [
        "login",
        "new",
        "--client-credentials",
        "--client-id",
        &client.key,
        "--with-secret",
    ];
    let run = Sites::free(world.bbtoken(login)).without("BBTOKEN_STORE");
    run.input(&client.secret).ok();
    list(two).without("BBTOKEN_STORE").ok();
    assert_eq!(sites.requests(), TWO);
}

#[test]
fn the_site_of_a_credential_request_decides() {
    let sites = Sites::new(gits().remove(0));
    let bases = [sites.world.bitbucket.base_url(), sites.other.base_url()];
    sites.requests();
    let get = |base: &str, lines: &str| {
        let host = base.trim_start_matches("https://");
        let request = format!("protocol=https\nhost={host}\n{lines}\n");
        Sites::free(sites.world.bbtoken(["credential", "get"])).input(&request)
    };
    for (base, site) in bases.iter().zip([ONE, TWO]) {
        for lines in ["", "path=ws/repo.git\n"] {
            get(base, lines).ok();
            assert_eq!(sites.requests(), site, "{base} {lines}");
        }
    }
    let refused = |run: Run| {
        let done = run.fails(3);
        assert_eq!(done.stdout, "quit=1\n");
        done.says(&["error: ", " names profile 'one', which is for "]);
        assert_eq!(sites.requests(), NONE);
    };
    refused(get(bases[1], "").env("BBTOKEN_PROFILE", "one"));
    refused(get(bases[1], "username=one\n"));
    let of_one = Sites::free(
        sites
            .world
            .bbtoken(["credential", "--profile", "one", "get"]),
    );
    let host = bases[1].trim_start_matches("https://");
    let done = of_one
        .input(&format!("protocol=https\nhost={host}\n\n"))
        .ok();
    assert_eq!(
        done, "",
        "a helper of one profile leaves the other site to others"
    );
    let done = get("https://bitbucket.org", "").ok();
    assert_eq!(done, "", "no profile is for that site");
    assert_eq!(sites.requests(), NONE);
}

/// Makes profiles of the world's client, whose secret is in the store.
fn profiles_of_one_client(world: &World, names: &[&str]) {
    for name in names {
        let login = [
            "login",
            name,
            "--client-credentials",
            "--client-id",
            &world.consumer.key,
            "--with-secret",
        ];
        let login = world.bbtoken(login).without_client();
        login.input(&world.consumer.secret).ok();
    }
}

#[test]
fn logout_leaves_what_another_profile_uses() {
    let world = &World::new(gits().remove(0));
    profiles_of_one_client(world, &["a", "b"]);
    let bbtoken = |arguments: &[&str]| world.bbtoken(arguments).without_client();
    let done = bbtoken(&["logout", "a"]).done().expect(0);
    assert_eq!(done.stdout, "Nothing was removed from profile 'a'.\n");
    done.says(&[
        "The client secret stays: profile 'b' uses it, too.\n",
        "The cached access token stays: profile 'b' uses it, too.\n",
        "To remove it, too: git bbtoken logout a --shared\n",
    ]);
    let token = bbtoken(&["token", "--profile", "b"]).ok();
    // The client in the environment is the same one. Its profile is not 'b', either.
    let of_environment = || world.bbtoken(["logout"]);
    for run in [
        of_environment(),
        of_environment().without("BBTOKEN_CLIENT_SECRET"),
    ] {
        run.done()
            .expect(0)
            .says(&["The client secret stays: profile 'a' uses it, too.\n"]);
    }
    world.bitbucket.clear_requests();
    assert_eq!(bbtoken(&["token", "--profile", "b"]).ok(), token);
    assert!(world.bitbucket.token_requests().is_empty());
    let _ = fs::remove_dir_all(world.cache());
    bbtoken(&["token", "--profile", "b"]).ok();
    // As the hint says.
    let done = bbtoken(&["logout", "a", "--shared"]).done().expect(0);
    assert_eq!(
        done.stdout,
        "Removed from profile 'a': client secret, cached access token.\n"
    );
    done.says(&[
        "Profile 'b' used the same client secret; to log it in again: git bbtoken login b\n",
    ]);
    bbtoken(&["token", "--profile", "b"]).fails(3);
}

#[test]
fn logout_speaks_of_no_profile_in_another_store() {
    let world = &World::new(gits().remove(0));
    profiles_of_one_client(world, &["a", "b"]);
    set(world, &["--global", "bbtoken.b.store", "memory"]);
    let done = world
        .bbtoken(["logout", "a"])
        .without_client()
        .done()
        .expect(0);
    assert_eq!(
        done.stdout,
        "Removed from profile 'a': client secret, cached access token.\n"
    );
    assert!(!done.stderr.contains("profile 'b'"), "{}", done.stderr);
    // Neither of one whose secret is somewhere else.
    profiles_of_one_client(world, &["a"]);
    set(world, &["--global", "--unset", "bbtoken.b.store"]);
    set(
        world,
        &["--global", "bbtoken.b.clientSecretCommand", "echo secret"],
    );
    set(
        world,
        &["--global", "bbtoken.b.baseUrl", "https://bitbucket.example"],
    );
    let done = world
        .bbtoken(["logout", "a"])
        .without_client()
        .without("BBTOKEN_BASE_URL");
    set(
        world,
        &["--global", "bbtoken.a.baseUrl", world.bitbucket.base_url()],
    );
    let done = done.done().expect(0);
    assert_eq!(
        done.stdout,
        "Removed from profile 'a': client secret, cached access token.\n"
    );
    assert!(!done.stderr.contains("profile 'b'"), "{}", done.stderr);
}

#[test]
fn a_login_that_two_profiles_share_stays_for_the_other() {
    let world = &World::new(gits().remove(0));
    person(world);
    configure_login(world, "alias", &world.consumer);
    configure(world, "alias", &[("account", "work")]);
    let done = manage(world, ["logout", "alias"]).done().expect(0);
    done.says(&["The login stays: profile 'work' uses it, too.\n"]);
    let _ = fs::remove_dir_all(world.cache());
    git(world, ["ls-remote", "bbtoken::work@ws/repo"]).ok();
    let done = manage(world, ["logout", "alias", "--shared"])
        .done()
        .expect(0);
    done.says(&[
        "Profile 'work' used the same login; to log it in again: git bbtoken login work\n",
    ]);
    git(world, ["ls-remote", "bbtoken::work@ws/repo"]).fails(128);
}
