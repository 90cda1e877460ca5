//! Git servers and token endpoints by other authors, in usual combinations.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    inspect::{is_sound, noise},
    login::Waiting,
    needs::needs,
    person::configure,
    programs::installed,
    squid::free_port,
    support::{Run, World, gits, on_every_git},
};

/// Dulwich's git server, which asks for a token, notes what it is asked, and says its port.
const DULWICH: &str = r#"
import base64, os, sys
from dulwich.repo import Repo
from dulwich.server import Backend
from dulwich.web import WSGIRequestHandlerLogger, WSGIServerLogger, make_server, make_wsgi_chain

root, notes = sys.argv[1:]

class Root(Backend):
    def open_repository(self, path):
        return Repo(root + os.fsdecode(path))

git = make_wsgi_chain(Root())

def answer(environ, start):
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    has_token = scheme == "Basic" and base64.b64decode(given).startswith(b"x-token-auth:")
    with open(notes, "a") as file:
        print(environ["REQUEST_METHOD"], environ["PATH_INFO"], has_token, file=file)
    if not has_token:
        start("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"'), ("Content-Length", "0")])
        return [b""]
    return git(environ, start)

server = make_server("127.0.0.1", 0, answer, handler_class=WSGIRequestHandlerLogger, server_class=WSGIServerLogger)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// How often HAProxy is started: another test may take the port that was free a moment ago.
const STARTS: usize = 5;

/// A program that runs as long as this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Dulwich with one repository, behind HAProxy, which ends TLS.
struct Foreign<'w> {
    world: &'w World,
    base: String,
    ca_file: PathBuf,
    notes: PathBuf,
    _programs: [Running; 2],
}

impl<'w> Foreign<'w> {
    fn start(world: &'w World, root: &Path) -> Self {
        let notes = world.path("notes");
        let (dulwich, port) = dulwich(root, &notes);
        let (authority, server) = bitbucket_local::certificate().expect("it can be made");
        let pem = world.path("haproxy.pem");
        fs::write(&pem, server).expect("the world can be written");
        // The token endpoint is still the local Bitbucket's.
        let bitbuckets = fs::read_to_string(world.bitbucket.ca_file()).expect("it is there");
        let ca_file = world.path("both.pem");
        fs::write(&ca_file, authority + &bitbuckets).expect("the world can be written");
        let (haproxy, front) = (0..STARTS)
            .find_map(|_| haproxy(world, &pem, port))
            .expect("haproxy starts; it is in Debian's package haproxy");
        Foreign {
            world,
            base: format!("https://localhost:{front}"),
            ca_file,
            notes,
            _programs: [dulwich, haproxy],
        }
    }

    fn git<const N: usize>(&self, arguments: [&str; N]) -> Run {
        let token_url = self.world.bitbucket.token_url();
        self.world
            .git(arguments)
            .env("BBTOKEN_BASE_URL", &self.base)
            .env("BBTOKEN_TOKEN_URL", token_url)
            .env("GIT_SSL_CAINFO", &self.ca_file)
    }

    /// What the server was asked since the last time.
    fn asked(&self) -> String {
        let notes = fs::read_to_string(&self.notes).expect("it was asked");
        fs::remove_file(&self.notes).expect("it is the test's");
        notes
    }
}

fn dulwich(root: &Path, notes: &Path) -> (Running, u16) {
    let mut child = Command::new(installed("venv/bin/python"))
        .args(["-c", DULWICH])
        .args([root, notes])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is a pipe");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("it is text");
    let port = line.trim().parse().expect("it says its port");
    (Running(child), port)
}

fn haproxy(world: &World, pem: &Path, behind: u16) -> Option<(Running, u16)> {
    let port = free_port();
    let configuration = world.path("haproxy.cfg");
    let text = format!(
        "defaults\n mode http\n timeout connect 300s\n timeout client 300s\n timeout server 300s\n\
         frontend tls\n bind 127.0.0.1:{port} ssl crt {} alpn h2,http/1.1\n default_backend git\n\
         backend git\n server dulwich 127.0.0.1:{behind}\n",
        pem.display()
    );
    fs::write(&configuration, text).expect("the world can be written");
    let mut child = Command::new("/usr/sbin/haproxy")
        .args(["-db", "-f"])
        .arg(&configuration)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return None;
        }
        std::thread::yield_now();
    }
    Some((Running(child), port))
}

#[test]
fn dulwich_behind_haproxy_is_cloned_fetched_and_pushed_to() {
    needs!("/usr/sbin/haproxy", "programs/venv");
    on_every_git(|world| {
        let root = world.path("server");
        let bare = root.join("ws/repo.git");
        let seed = world.path("seed");
        world.git(["init", "-q", "--bare"]).arg(&bare).ok();
        world.git(["init", "-q", "seed"]).ok();
        world.commit(&seed, "file", "one\n");
        world.publish(&bare, &seed);
        let server = Foreign::start(world, &root);

        let clone = server.git(["clone", "-q", "bbtoken::ws/repo", "tree"]);
        clone.done().expect(0).quiet();
        let tree = world.path("tree");
        let fetch = || {
            let fetch = server.git(["fetch", "-q"]).within(&tree);
            fetch.done().expect(0).quiet();
        };
        fetch();
        world.commit(&seed, "file", "two\n");
        world.publish(&bare, &seed);
        fetch();
        assert_eq!(
            world.rev(&tree, "origin/main"),
            world.rev(&seed, "main"),
            "the fetch gets the new commit"
        );
        world.git(["merge", "-q", "origin/main"]).within(&tree).ok();
        // The large one is streamed.
        for bytes in [100, 3 << 20] {
            world.commit(&tree, "noise", noise(bytes));
            let push = server.git(["push", "-q"]).within(&tree);
            push.done().expect(0).quiet();
            assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
        }
        is_sound(world, &bare);
        is_sound(world, &tree);
        // Without protocol v2, git's own helper fetches: it asks for refs without a token first.
        let asked = server.asked();
        let mut posts = asked.lines().filter(|line| line.starts_with("POST "));
        assert!(posts.clone().count() >= 4, "{asked}");
        assert!(posts.all(|line| line.ends_with(" True")), "{asked}");
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

/// The client credentials of `oidc.mjs`.
const MACHINE: (&str, &str) = ("machine:one", "s:e%c+r/e=t");
/// The client of a person there.
const PERSON: (&str, &str) = ("person", "another-secret");
/// So many commands at once want a token.
const CROWD: usize = 20;

/// npm's oidc-provider, which revokes a login whose refresh token is used twice.
struct Oidc<'w> {
    world: &'w World,
    issuer: String,
    notes: PathBuf,
    _program: Running,
}

impl<'w> Oidc<'w> {
    fn start(world: &'w World) -> Self {
        let notes = world.path("grants");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/oidc.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(installed("node/node_modules"))
            .arg(&notes)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let mut issuer = String::new();
        // The pipe stays open, since the server says more.
        BufReader::new(child.stdout.as_mut().expect("it is a pipe"))
            .read_line(&mut issuer)
            .expect("it is text");
        Oidc {
            world,
            issuer: issuer.trim().to_owned(),
            notes,
            _program: Running(child),
        }
    }

    /// Prepares `git bbtoken …` with a client of this server.
    fn bbtoken<const N: usize>(&self, arguments: [&str; N], client: (&str, &str)) -> Run {
        self.world
            .bbtoken(arguments)
            .env("BBTOKEN_TOKEN_URL", format!("{}/token", self.issuer))
            .env("BBTOKEN_CLIENT_ID", client.0)
            .env("BBTOKEN_CLIENT_SECRET", client.1)
    }

    /// What became of each request for a token since the last time.
    fn grants(&self) -> Vec<String> {
        let notes = fs::read_to_string(&self.notes).unwrap_or_default();
        let _ = fs::remove_file(&self.notes);
        notes.lines().map(str::to_owned).collect()
    }
}

#[test]
fn oidc_provider_gives_a_client_its_token_and_its_refusals_are_understood() {
    needs!("node", "programs/node");
    let world = World::new(gits().remove(0));
    let server = Oidc::start(&world);
    for _ in 0..2 {
        let token = server.bbtoken(["token"], MACHINE).done().expect(0).quiet();
        assert!(token.stdout.trim_end().len() > 20, "{}", token.stdout);
    }
    assert_eq!(server.grants(), ["success client_credentials"]);
    let cases = [
        ((MACHINE.0, "wrong"), ": its id or secret is wrong\n"),
        (("nobody", "wrong"), ": its id or secret is wrong\n"),
        (PERSON, ": the client may not use this grant\n"),
    ];
    for (client, cause) in cases {
        let run = server.bbtoken(["token"], client);
        run.env("BBTOKEN_STORE", "memory").fails(4).says(&[cause]);
    }
}

#[test]
fn oidc_provider_logs_a_person_in_and_no_refresh_token_is_used_twice_by_a_crowd() {
    needs!("node", "programs/node", "curl");
    let world = World::new(gits().remove(0));
    let server = Oidc::start(&world);
    // It gives no scope unless it is asked for one, and a query of the endpoint stays.
    let authorize = format!("{}/auth?scope=openid", server.issuer);
    configure(
        &world,
        "me",
        &[
            ("clientId", PERSON.0),
            ("grant", "authorization-code"),
            ("authorizeUrl", &authorize),
            ("tokenUrl", &format!("{}/token", server.issuer)),
        ],
    );
    let command = |arguments: [&str; 3]| {
        let run = world.bbtoken(arguments).without("BBTOKEN_CLIENT_ID");
        run.env("BBTOKEN_CLIENT_SECRET", PERSON.1)
    };
    let login = Waiting::of(command(["login", "me", "--browser"]).into_command());
    let jar = world.path("cookies");
    let browser = world.run(Path::new("/usr/bin/curl"), ["-sSL", "-o", "/dev/null"]);
    let browser = browser.arg("-c").arg(&jar).arg("-b").arg(&jar);
    let seen = browser.arg(&login.page).done();
    let (code, said) = login.end();
    assert_eq!(code, Some(0), "{said}\n{}", seen.stderr);
    assert_eq!(server.grants(), ["success authorization_code"]);
    for _ in 0..3 {
        // No token is left, so that each of them wants to refresh.
        let _ = fs::remove_dir_all(world.cache());
        let tokens: Vec<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..CROWD)
                .map(|_| {
                    scope.spawn(|| {
                        command(["token", "--profile", "me"])
                            .done()
                            .expect(0)
                            .stdout
                    })
                })
                .collect();
            all.into_iter()
                .map(|one| one.join().expect("it ran"))
                .collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
        assert_eq!(server.grants(), ["success refresh_token"], "one for all");
    }
}
