//! `remote convert` at a Data Center, the move to Cloud, and both products at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::{Bitbucket, Options, Recorded, fingerprint};

use super::{configured, data_center, log_in, one};
use crate::support::{Done, Git, Run, World, gits};

/// A repository with one remote for each address: `r0`, `r1` and so on.
fn remotes(world: &World, urls: &[String]) -> PathBuf {
    let tree = world.path("tree");
    world.git(["init", "-q"]).arg(&tree).ok();
    for (number, url) in urls.iter().enumerate() {
        let add = ["remote", "add", &format!("r{number}"), url];
        world.git(add).within(&tree).ok();
    }
    tree
}

fn urls(world: &World, tree: &Path, count: usize) -> Vec<String> {
    let get = |number| format!("remote.r{number}.url");
    let url = |number| world.git(["config", &get(number)]).within(tree).ok();
    (0..count).map(|n| url(n).trim_end().to_owned()).collect()
}

fn convert(world: &World, tree: &Path, arguments: &[&str]) -> Run {
    let run = world.bbtoken(["remote", "convert"]).within(tree);
    configured(run.args(arguments.iter().copied()))
}

/// Sets a setting of the user.
fn set(world: &World, key: &str, value: &str) {
    world.git(["config", "--global", key, value]).ok();
}

fn with_user(base: &str, user: &str) -> String {
    base.replacen("://", &format!("://{user}@"), 1)
}

#[test]
fn each_form_of_an_address_becomes_ours_and_an_https_address_again() {
    let world = one();
    log_in(&world);
    let base = world.bitbucket.base_url();
    let git = |name: &str| format!("{base}/scm/{name}.git");
    let dc = with_user(base, "dc");
    let cases = [
        (git("PROJ/repo"), "bbtoken::PROJ/repo", git("PROJ/repo")),
        (
            format!("{}/scm/proj/repo.git", with_user(base, "ann")),
            "bbtoken::proj/repo",
            git("proj/repo"),
        ),
        (
            format!("{}/scm/PROJ/repo", with_user(base, "ann:canary")),
            "bbtoken::PROJ/repo",
            git("PROJ/repo"),
        ),
        (
            format!("{dc}/scm/PROJ/repo.git"),
            "bbtoken::dc@PROJ/repo",
            format!("{dc}/scm/PROJ/repo.git"),
        ),
        (
            format!("{base}/projects/PROJ/repos/repo/browse/a?at=main#3"),
            "bbtoken::PROJ/repo",
            git("PROJ/repo"),
        ),
        (
            "ssh://git@localhost:7999/proj/repo.git".to_owned(),
            "bbtoken::proj/repo",
            git("proj/repo"),
        ),
        (
            "ssh://git@localhost:7999/~ann/own.git".to_owned(),
            "bbtoken::~ann/own",
            git("~ann/own"),
        ),
        (git("~ann/own"), "bbtoken::~ann/own", git("~ann/own")),
        // Another ssh server of the host.
        (
            "git@localhost:team/tool.git".to_owned(),
            "git@localhost:team/tool.git",
            "git@localhost:team/tool.git".to_owned(),
        ),
        // No profile is for this site.
        (
            "git@bitbucket.org:ws/repo.git".to_owned(),
            "git@bitbucket.org:ws/repo.git",
            "git@bitbucket.org:ws/repo.git".to_owned(),
        ),
        (
            format!("{base}/dashboard"),
            &*format!("{base}/dashboard"),
            format!("{base}/dashboard"),
        ),
    ]
    .map(|(from, ours, back)| (from, ours.to_owned(), back));
    let from: Vec<_> = cases.iter().map(|(from, _, _)| from.clone()).collect();
    let tree = remotes(&world, &from);
    let done = convert(&world, &tree, &["--yes"]).done().expect(0);
    assert!(!done.stdout.contains("canary"), "{done:?}");
    assert!(!done.stdout.contains("bitbucket.org"), "{done:?}");
    let ours: Vec<_> = cases.iter().map(|(_, ours, _)| ours.clone()).collect();
    assert_eq!(urls(&world, &tree, cases.len()), ours);
    convert(&world, &tree, &["--back", "--yes"]).ok();
    let back: Vec<_> = cases.iter().map(|(_, _, back)| back.clone()).collect();
    assert_eq!(urls(&world, &tree, cases.len()), back);
}

#[test]
fn where_a_short_address_would_lead_to_the_other_product_the_host_stays() {
    let world = one();
    log_in(&world);
    set(&world, "bbtoken.cloud.clientId", "x");
    set(&world, "bbtoken.profile", "cloud");
    set(&world, "bbtoken.dc.workspace", "MINE");
    let base = world.bitbucket.base_url();
    let from = [
        format!("{base}/scm/PROJ/repo.git"),
        format!("{base}/scm/MINE/repo.git"),
        format!("{base}/scm/PROJ/repo.git"),
        format!("{base}/scm/~ann/own.git"),
        "https://bitbucket.org/ws/repo.git".to_owned(),
        "https://bitbucket.org/MINE/repo.git".to_owned(),
        format!("{}/scm/PROJ/repo.git", with_user(base, "dc")),
        format!("{}/scm/PROJ/repo.git", with_user(base, "cloud")),
    ];
    let tree = remotes(&world, &from);
    let of_remote = ["config", "remote.r2.bbtokenProfile", "dc"];
    world.git(of_remote).within(&tree).ok();
    convert(&world, &tree, &["--yes"]).ok();
    let long = format!("bbtoken::{base}/scm/PROJ/repo.git");
    let ours = [
        &long,
        "bbtoken::MINE/repo",
        "bbtoken::PROJ/repo",
        "bbtoken::~ann/own",
        "bbtoken::ws/repo",
        "bbtoken::https://bitbucket.org/MINE/repo.git",
        "bbtoken::dc@PROJ/repo",
        &long,
    ];
    assert_eq!(urls(&world, &tree, ours.len()), ours);
    for remote in ["r0", "r2", "r6"] {
        let list = world.git(["ls-remote", "-q", remote, "main"]).within(&tree);
        configured(list).ok();
    }
    convert(&world, &tree, &["--back", "--yes"]).ok();
    let mut back = from.to_vec();
    back[7].clone_from(&from[0]);
    assert_eq!(urls(&world, &tree, back.len()), back);
    // Without a chosen profile, nothing says what a short address means.
    convert(&world, &tree, &["--yes"]).ok();
    let unset = ["config", "--global", "--unset", "bbtoken.profile"];
    world.git(unset).ok();
    let done = convert(&world, &tree, &["--back", "--yes"])
        .done()
        .expect(0);
    done.says(&[
        "not changed: remote.r4.url in configuration of '",
        "several profiles are configured",
    ]);
    "bbtoken::ws/repo".clone_into(&mut back[4]);
    assert_eq!(urls(&world, &tree, back.len()), back);
}

/// A clone at the Data Center with remotes, submodules and the settings of earlier commands.
struct Clone {
    world: World,
    tree: PathBuf,
}

const MAPS: [&str; 8] = [
    "remote",
    "convert",
    "--to",
    "cloud",
    "--map",
    "proj=acme",
    "--map",
    "~ANN=ann-b",
];

impl Clone {
    fn new() -> Self {
        let world = one();
        log_in(&world);
        set(&world, "bbtoken.profile", "dc");
        let tree = world.path("src/tree");
        world.git(["init", "-q"]).arg(&tree).ok();
        let base = world.bitbucket.base_url();
        let endpoint =
            |name: &str| format!("{}/scm/{name}.git/info/lfs", with_user(base, "bbtoken"));
        set(&world, &format!("url.{base}/scm/PROJ/.insteadOf"), "mine:");
        for (key, value) in [
            ("remote.origin.url", format!("{base}/scm/PROJ/repo.git")),
            (
                "remote.origin.pushurl",
                "ssh://git@localhost:7999/proj/repo.git".to_owned(),
            ),
            ("remote.origin.bbtokenProfile", "dc".to_owned()),
            ("remote.origin.lfsurl", endpoint("PROJ/repo")),
            ("remote.short.url", "bbtoken::PROJ/repo".to_owned()),
            ("remote.fork.url", "bbtoken::dc@~ann/repo".to_owned()),
            ("remote.rule.url", "mine:repo".to_owned()),
            ("remote.other.url", format!("{base}/scm/OTHER/repo.git")),
            ("remote.other.pushurl", format!("{base}/scm/PROJ/repo.git")),
            ("remote.other.bbtokenProfile", "dc".to_owned()),
            ("remote.other.lfsurl", endpoint("OTHER/repo")),
            (
                "remote.cloud.url",
                "git@bitbucket.org:ws/repo.git".to_owned(),
            ),
            (
                "remote.away.url",
                "https://example.org/PROJ/repo".to_owned(),
            ),
            ("remote.near.url", "../PROJ/repo".to_owned()),
            ("submodule.part.url", format!("{base}/scm/PROJ/part.git")),
        ] {
            world.git(["config", key, &value]).within(&tree).ok();
        }
        let modules = format!(
            "[submodule \"part\"]\n\tpath = part\n\turl = {base}/scm/PROJ/part.git\n[submodule \"near\"]\n\tpath = near\n\turl = ../near.git\n"
        );
        fs::write(tree.join(".gitmodules"), modules).expect("it is new");
        Clone { world, tree }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let run = self.world.bbtoken(MAPS).within(&self.tree);
        configured(run.args(arguments.iter().copied()))
    }

    fn config(&self) -> String {
        fs::read_to_string(self.tree.join(".git/config")).expect("it is there")
    }

    fn modules(&self) -> String {
        fs::read_to_string(self.tree.join(".gitmodules")).expect("it is there")
    }
}

#[test]
fn a_move_to_cloud_changes_what_has_a_map_and_names_the_missing_map() {
    let clone = Clone::new();
    let world = &clone.world;
    let before = (clone.config(), clone.modules());
    clone.run(&["--yes"]).fails(3).says(&[
        "error: no profile is for kind 'cloud'; log in first: git bbtoken login <profile>\n",
    ]);
    set(world, "bbtoken.cloud.clientId", "x");
    let shown = clone.run(&["--dry-run"]).done().expect(0);
    assert!(
        shown.stdout.contains("\n  + remote.fork.url = bbtoken::"),
        "{shown:?}"
    );
    let done = clone.run(&[]).fails(2);
    done.says(&["give --yes"]);
    assert_eq!(
        (clone.config(), clone.modules()),
        before,
        "nothing is written"
    );

    let done = clone.run(&["--yes"]).done().expect(0);
    let missing = "not changed: remote.other.url in configuration of '";
    let missing = done.stderr.lines().filter(|line| line.starts_with(missing));
    let missing: Vec<_> = missing.collect();
    assert_eq!(missing.len(), 1, "{done:?}");
    assert!(
        missing[0].ends_with("': it needs --map OTHER=<workspace>"),
        "{missing:?}"
    );
    assert_eq!(
        clone.modules(),
        before.1,
        "committed files need --submodules"
    );
    let get = |key: &str| {
        let get = world.git(["config", "--get-all", key]).within(&clone.tree);
        get.done().stdout
    };
    let base = world.bitbucket.base_url();
    for (key, value) in [
        (
            "remote.origin.url",
            "bbtoken::https://bitbucket.org/acme/repo.git",
        ),
        (
            "remote.origin.pushurl",
            "bbtoken::https://bitbucket.org/acme/repo.git",
        ),
        ("remote.origin.bbtokenProfile", ""),
        ("remote.origin.lfsurl", ""),
        (
            "remote.short.url",
            "bbtoken::https://bitbucket.org/acme/repo.git",
        ),
        (
            "remote.fork.url",
            "bbtoken::https://bitbucket.org/ann-b/repo.git",
        ),
        (
            "remote.rule.url",
            "bbtoken::https://bitbucket.org/acme/repo.git",
        ),
        ("remote.other.url", &format!("{base}/scm/OTHER/repo.git")),
        ("remote.other.pushurl", &format!("{base}/scm/PROJ/repo.git")),
        ("remote.other.bbtokenProfile", "dc"),
        ("remote.cloud.url", "git@bitbucket.org:ws/repo.git"),
        ("remote.away.url", "https://example.org/PROJ/repo"),
        ("remote.near.url", "../PROJ/repo"),
        (
            "submodule.part.url",
            "bbtoken::https://bitbucket.org/acme/part.git",
        ),
    ] {
        assert_eq!(get(key).trim_end(), value, "{key}");
    }
    assert!(
        get("remote.other.lfsurl").contains("OTHER"),
        "only the moved remotes lose it"
    );

    let done = clone.run(&["--yes", "--submodules"]).done().expect(0);
    done.says(&[
        "Commit '.gitmodules'",
        "  git config --global url.https://.insteadOf bbtoken::https://\n",
    ]);
    let modules = clone.modules();
    assert!(
        modules.contains("url = bbtoken::https://bitbucket.org/acme/part.git\n"),
        "{modules}"
    );
    assert!(modules.contains("url = ../near.git\n"), "{modules}");
    assert_eq!(
        clone.run(&["--yes", "--submodules"]).ok(),
        "No address needs to change.\n"
    );
}

#[test]
fn a_move_gives_short_addresses_where_they_lead_to_cloud() {
    let clone = Clone::new();
    set(&clone.world, "bbtoken.cloud.clientId", "x");
    set(&clone.world, "bbtoken.cloud.workspace", "acme");
    let below = clone.world.path("src");
    let below = below.to_str().expect("it is text");
    let run = clone.world.bbtoken(MAPS).args(["--yes", "--below", below]);
    configured(run).ok();
    let config = clone.config();
    assert!(config.contains("\turl = bbtoken::acme/repo\n"), "{config}");
    let fork = "\turl = bbtoken::https://bitbucket.org/ann-b/repo.git\n";
    assert!(config.contains(fork), "{config}");
}

#[test]
fn a_move_needs_a_known_kind_and_maps() {
    let clone = Clone::new();
    let run = |arguments: &[&str]| -> Done {
        let run = clone.world.bbtoken(["remote", "convert", "--yes"]);
        configured(run.args(arguments.iter().copied()).within(&clone.tree)).fails(2)
    };
    let before = clone.config();
    run(&["--to", "cloud"]).says(&["--map <PROJECT=workspace>"]);
    run(&["--map", "PROJ=acme"]).says(&["--to <kind>"]);
    run(&["--to", "cloud", "--map", "PROJ=acme", "--back"]).says(&["cannot be used with"]);
    let kind = run(&["--to", "server", "--map", "PROJ=acme"]);
    kind.says(&["error: invalid value 'server' for '--to <kind>'\n"]);
    for map in ["PROJ", "PROJ=", "PROJ=a/b", "PROJ=~ann", "PROJ=work@ws"] {
        let words = format!("error: '{map}' is not PROJECT=workspace\n");
        run(&["--to", "cloud", "--map", map]).says(&[&words]);
    }
    assert_eq!(clone.config(), before);
}

/// A Data Center with the profile `dc`, and a stand-in for Cloud with the profile `cloud`.
pub(super) struct Both {
    pub(super) world: World,
    pub(super) cloud: Bitbucket,
    token: String,
}

impl Both {
    pub(super) fn new(git: Git) -> Self {
        let world = data_center(git);
        log_in(&world);
        let options = Options {
            git: Some(world.git.program.clone()),
            ..Options::default()
        };
        let cloud = Bitbucket::start(options).expect("the local Bitbucket starts");
        let copy = cloud
            .create_repository("ws", "lib")
            .expect("it can be made");
        let push = world.git(["push", "-q"]).arg(copy).arg("HEAD:main");
        push.within(world.path("seed-PROJ-repo")).ok();
        let token = cloud.issue_api_token();
        set(&world, "bbtoken.cloud.baseUrl", cloud.base_url());
        set(
            &world,
            "bbtoken.cloud.accessTokenCommand",
            &format!("printf %s {token}"),
        );
        for bitbucket in [&world.bitbucket, &cloud] {
            let key = format!("http.{}.sslCAInfo", bitbucket.base_url());
            let ca = bitbucket.ca_file().to_str().expect("it is text").to_owned();
            set(&world, &key, &ca);
        }
        Both {
            world,
            cloud,
            token,
        }
    }

    pub(super) fn git(&self, arguments: &[&str]) -> Run {
        configured(self.world.git(arguments)).without("GIT_SSL_CAINFO")
    }

    pub(super) fn bbtoken(&self, arguments: &[&str]) -> Run {
        configured(self.world.bbtoken(arguments)).without("GIT_SSL_CAINFO")
    }

    /// The fingerprints of the secrets that each server got, the Data Center first.
    fn secrets(&self) -> [Vec<String>; 2] {
        [&self.world.bitbucket, &self.cloud].map(|site| {
            let secret = |request: Recorded| request.secret;
            let mut secrets: Vec<_> = site.requests().into_iter().filter_map(secret).collect();
            secrets.sort();
            secrets.dedup();
            secrets
        })
    }
}

#[test]
fn one_command_clones_submodules_of_both_products_with_two_profiles() {
    for git in gits() {
        let both = Both::new(git);
        let world = &both.world;
        world.repository("PROJ", "part");
        let base = world.bitbucket.base_url();
        let lib = format!("bbtoken::{}/ws/lib.git", both.cloud.base_url());
        let whole = world.path("whole");
        let address = format!("bbtoken::{base}/scm/PROJ/repo.git");
        both.git(&["clone", "-q", &address]).arg(&whole).ok();
        let allow = ["-c", "protocol.bbtoken.allow=always"];
        for (url, path) in [("../part.git", "part"), (&lib, "lib")] {
            let add = ["submodule", "--quiet", "add", url, path];
            both.git(&allow).args(add).within(&whole).ok();
        }
        both.git(&["commit", "-qm", "parts"]).within(&whole).ok();
        both.git(&["push", "-q"]).within(&whole).ok();
        let of_dc = world.bitbucket.requests();
        let of_dc = of_dc.into_iter().find_map(|request| request.secret);
        world.bitbucket.clear_requests();
        both.cloud.clear_requests();
        for (number, address) in [&address, "bbtoken::dc@PROJ/repo"].into_iter().enumerate() {
            let again = world.path(&format!("again-{number}"));
            let clone = [
                "clone",
                "-q",
                "--recurse-submodules",
                "--jobs",
                "4",
                address,
            ];
            both.git(&allow)
                .args(clone)
                .arg(&again)
                .done()
                .expect(0)
                .quiet();
            assert!(again.join("part/file").exists() && again.join("lib/file").exists());
        }
        let own = [
            vec![of_dc.expect("it was sent")],
            vec![fingerprint(&both.token)],
        ];
        assert_eq!(both.secrets(), own, "each server gets its own secret only");
    }
}

#[test]
fn a_moved_clone_fetches_from_cloud_with_its_relative_submodule() {
    for git in gits() {
        let both = Both::new(git);
        let world = &both.world;
        world.repository("PROJ", "part");
        let whole = world.path("whole");
        let git = |arguments: &[&str]| both.git(arguments).within(&whole);
        let clone = both.git(&["clone", "-q", "bbtoken::dc@PROJ/repo"]);
        clone.arg(&whole).ok();
        let allow = "protocol.bbtoken.allow=always";
        let add = ["submodule", "--quiet", "add", "../part.git", "part"];
        git(&["-c", allow]).args(add).ok();
        git(&["commit", "-qm", "part"]).ok();
        for (name, tree) in [("repo", &whole), ("part", &world.path("seed-PROJ-part"))] {
            let copy = both.cloud.create_repository("ws", name);
            let push = both.git(&["push", "-q"]).within(tree);
            push.arg(copy.expect("it can be made"))
                .arg("HEAD:main")
                .ok();
        }
        let convert = [
            "remote", "convert", "--to", "cloud", "--map", "PROJ=ws", "--yes",
        ];
        let done = both.bbtoken(&convert).within(&whole).done();
        done.expect(0).quiet();
        world.bitbucket.clear_requests();
        git(&["fetch", "-q", "--recurse-submodules=yes"])
            .done()
            .expect(0)
            .quiet();
        git(&["submodule", "--quiet", "sync"]).ok();
        let url = git(&["config", "submodule.part.url"]).ok();
        assert_eq!(
            url,
            format!("bbtoken::{}/ws/part.git\n", both.cloud.base_url())
        );
        git(&["-C", "part", "fetch", "-q"]).done().expect(0).quiet();
        assert!(
            world.bitbucket.requests().is_empty(),
            "nothing is at the Data Center"
        );
        let fetched = both.cloud.git_requests();
        for name in ["repo", "part"] {
            let path = format!("/ws/{name}.git/");
            assert!(
                fetched.iter().any(|request| request.path.contains(&path)),
                "{name}"
            );
        }
    }
}

#[test]
fn a_base_url_in_the_environment_leaves_the_kind_of_a_profile_to_move_to() {
    let world = one();
    log_in(&world);
    world.git(["init", "-q", "tree"]).ok();
    let convert = [
        "remote",
        "convert",
        "--to",
        "datacenter",
        "--map",
        "ws=PROJ",
    ];
    let run = configured(world.bbtoken(convert).within(world.path("tree")));
    let said = run.env("BBTOKEN_BASE_URL", world.bitbucket.base_url()).ok();
    assert_eq!(said, "No address needs to change.\n");
}
