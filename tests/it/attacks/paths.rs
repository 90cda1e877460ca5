//! Relative paths in variables and settings, in a repository that tracks files at those paths.

use std::{fs, io::ErrorKind, net::TcpListener, path::PathBuf};

use crate::{
    submodules::{ALLOWED, superproject},
    support::{Done, Run, World, on_every_git},
};

/// Where a hostile repository keeps what git might read as the user's configuration.
const PLANTED: [&str; 5] = [
    ".gitconfig",
    ".config/git/config",
    "git/config",
    "home/.gitconfig",
    "home/.config/git/config",
];

/// A repository that tracks a user's configuration: a command, and a server that waits for the secret.
struct Trap {
    tree: PathBuf,
    marker: PathBuf,
    listener: TcpListener,
}

impl Trap {
    /// Makes `ws/super`, with a submodule, and a clone of it.
    fn set(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.set_nonblocking(true).expect("it is a socket");
        let port = listener.local_addr().expect("it is bound").port();
        let marker = world.path("marker");
        world.repository("ws", "lib");
        let seed = superproject(world, "super", &[("lib", "../lib")]);
        let bare = world.bitbucket.repository_path("ws", "super");
        let text = format!(
            "[bbtoken]\n\tclientSecretCommand = !touch '{}'; echo canary\n\ttokenUrl = http://127.0.0.1:{port}/token\n\
             [http]\n\tsslVerify = false\n",
            marker.display()
        );
        for file in PLANTED {
            let path = seed.join(file);
            fs::create_dir_all(path.parent().expect("it is below the seed")).expect("it is ours");
            world.commit(&seed, file, &text);
        }
        world.publish(&bare, &seed);
        world.git(["clone", "-q"]).arg(&bare).arg("tree").ok();
        let tree = world.path("tree");
        let url = ["remote", "set-url", "origin", "bbtoken::ws/super"];
        world.git(url).within(&tree).ok();
        Trap {
            tree,
            marker,
            listener,
        }
    }

    #[track_caller]
    fn was_not_sprung(&self, done: &Done) {
        assert!(
            !self.marker.exists(),
            "a tracked file must not run a command: {}",
            done.shown
        );
        let caller = self.listener.accept().map(drop);
        assert!(
            caller.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "a tracked file must not choose where a secret goes: {}",
            done.shown
        );
    }
}

#[test]
fn a_relative_path_never_becomes_the_users_configuration() {
    on_every_git(|world| {
        let trap = Trap::set(world);
        let refused: [&[(&str, &str)]; 7] = [
            &[("HOME", ".")],
            &[("HOME", "home")],
            &[("HOME", "./home")],
            &[("XDG_CONFIG_HOME", ".")],
            &[("XDG_CONFIG_HOME", ".config")],
            &[("GIT_CONFIG_GLOBAL", ".gitconfig")],
            &[
                ("GIT_CONFIG_NOSYSTEM", "0"),
                ("GIT_CONFIG_SYSTEM", ".gitconfig"),
            ],
        ];
        let followed: [&[(&str, &str)]; 3] = [
            &[("HOME", "")],
            &[("HOME", ""), ("XDG_CONFIG_HOME", "")],
            &[("GIT_CONFIG_GLOBAL", "")],
        ];
        let all = refused.iter().map(|set| (*set, 128));
        for (variables, code) in all.chain(followed.iter().map(|set| (*set, 0))) {
            // The secret is asked for anew.
            let _ = fs::remove_dir_all(world.path("kept"));
            let with = |run: Run| {
                let run = run.env("BBTOKEN_HOME", world.path("kept"));
                variables
                    .iter()
                    .fold(run, |run, (name, value)| run.env(name, value))
            };
            let fetch = with(world.git(["fetch"])).within(&trap.tree).done();
            trap.was_not_sprung(&fetch);
            let update = world.git(ALLOWED).args(["submodule", "update", "--init"]);
            let update = with(update).within(&trap.tree).done();
            trap.was_not_sprung(&update);
            // Without a secret in the environment, the command would be run.
            let token = world.bbtoken(["token"]).without("BBTOKEN_CLIENT_SECRET");
            let token = with(token).within(&trap.tree).done();
            trap.was_not_sprung(&token);
            if code != 0 {
                let name = variables[variables.len() - 1].0;
                token.says(&[&format!("{name} is not an absolute path")]);
            }
            let fetch = fetch.expect(code);
            if code != 0 {
                fetch.says(&["is not an absolute path"]);
            }
            let _ = fs::remove_dir_all(world.path("copy"));
            let clone = [
                "clone",
                "-q",
                "--recurse-submodules",
                "bbtoken::ws/super",
                "copy",
            ];
            let clone = with(world.git(ALLOWED).args(clone)).done();
            trap.was_not_sprung(&clone);
        }
    });
}

#[test]
fn a_certificate_at_a_relative_path_is_not_trusted() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        fs::copy(world.bitbucket.ca_file(), tree.join("ca.pem")).expect("it is ours");
        let settings = [
            "sslCAInfo",
            "sslCAPath",
            "sslCert",
            "sslKey",
            "proxySSLCAInfo",
            "proxySSLCert",
            "proxySSLKey",
            "pinnedPubkey",
            "cookieFile",
        ];
        for key in settings {
            let setting = format!("http.{key}=ca.pem");
            // A key is looked at only beside a certificate.
            let certificate = format!("http.sslCert={}", world.bitbucket.ca_file().display());
            let fetch = world
                .git(["-c", &certificate, "-c", &setting, "fetch"])
                .within(&tree);
            let fetch = fetch.without("GIT_SSL_CAINFO").fails(128);
            fetch.says(&["is not an absolute path", &format!("http.{key}")]);
        }
        for name in [
            "GIT_SSL_CAINFO",
            "GIT_SSL_CERT",
            "GIT_PROXY_SSL_CAINFO",
            "GIT_PROXY_SSL_CERT",
            "GIT_PROXY_SSL_KEY",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ] {
            let fetch = world.git(["fetch"]).within(&tree).env(name, "ca.pem");
            fetch.fails(128).says(&[name, "is not an absolute path"]);
        }
        for value in ["/nowhere:certs", "certs:/nowhere"] {
            let fetch = world.git(["fetch"]).within(&tree);
            let fetch = fetch.env("SSL_CERT_DIR", value).fails(128);
            fetch.says(&["SSL_CERT_DIR is not an absolute path"]);
        }
        for (name, value) in [("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "/nowhere:")] {
            world.git(["fetch"]).within(&tree).env(name, value).ok();
        }
    });
}

#[test]
fn a_secret_is_not_read_from_a_relative_path() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        fs::write(tree.join("secret"), "canary").expect("it is ours");
        for name in ["BBTOKEN_CLIENT_SECRET_FILE", "BBTOKEN_ACCESS_TOKEN_FILE"] {
            let token = world.bbtoken(["token"]).within(&tree).env(name, "secret");
            let token = token.without("BBTOKEN_CLIENT_SECRET");
            token.fails(3).says(&[name, "is not an absolute path"]);
        }
    });
}

#[test]
fn nothing_is_saved_at_a_relative_path() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        for name in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"] {
            let _ = fs::remove_dir_all(world.cache());
            let token = world.bbtoken(["token"]).within(&tree).env(name, ".");
            token.ok();
            let status = world.git(["status", "--porcelain"]).within(&tree);
            assert_eq!(status.ok(), "", "{name} is no place in a work tree");
        }
    });
}
