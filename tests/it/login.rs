//! `login`: by options and stdin, and by browser, with the callback or a pasted address.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use bitbucket_local::{Action, Consent, Consumer, Kind, Rule};

use crate::{
    inspect::strace,
    needs::needs,
    person,
    support::{Run, World, gits, put_program},
};

fn world() -> World {
    World::new(gits().remove(0))
}

fn login(world: &World, arguments: &[&str]) -> Run {
    world
        .bbtoken(["login"])
        .args(arguments.iter().copied())
        .without_client()
}

/// A login that waits for its browser.
pub(crate) struct Waiting {
    pub(crate) child: Child,
    output: BufReader<ChildStdout>,
    /// The page that a person is to open.
    pub(crate) page: String,
}

impl Waiting {
    /// Starts a login of the profile `me` with the world's client.
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        let client = [
            "login",
            "me",
            "--browser",
            "--client-id",
            &world.consumer.key,
        ];
        let run = world.bbtoken(client).args(arguments).arg("--with-secret");
        Waiting::of(
            run.without_client()
                .input(&world.consumer.secret)
                .into_command(),
        )
    }

    /// Starts a command that logs in, and shows the page.
    pub(crate) fn of(mut command: Command) -> Self {
        // Without a display, a port says that somebody opens the page.
        if command.get_args().all(|argument| argument != "--port") {
            command.args(["--port", "0"]);
        }
        let mut login = Waiting::for_browser(command);
        login.page = login.read_page();
        login
    }

    /// Reads the page that is to be opened.
    pub(crate) fn read_page(&mut self) -> String {
        page(&mut self.output)
    }

    /// Starts a command that logs in, and opens the page itself.
    pub(crate) fn for_browser(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Waiting {
            child,
            output,
            page: String::new(),
        }
    }

    /// Waits for its end; gives its exit code and all that it still said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.output.read_to_string(&mut said).expect("it is text");
        let rest = self.child.wait_with_output().expect("it ends");
        (
            rest.status.code(),
            said + &String::from_utf8_lossy(&rest.stderr),
        )
    }
}

/// Asks a plain http address of this machine; gives the whole answer.
pub(crate) fn visit(url: &str) -> String {
    let mut answer = String::new();
    let mut stream = bring(url);
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Follows our start page to Bitbucket's.
pub(crate) fn page_behind(start: &str) -> String {
    let answer = visit(start);
    assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
    let mut lines = answer.lines();
    let page = lines.find_map(|line| line.strip_prefix("Location: "));
    page.expect("it leads to Bitbucket's").to_owned()
}

/// Brings a callback as a browser does, which then waits for its page.
pub(crate) fn bring(url: &str) -> TcpStream {
    let (authority, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .expect("it is a callback");
    let mut stream = TcpStream::connect(authority).expect("somebody listens");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n").expect("it is read");
    stream
}

/// What a browser does with the page: asks Bitbucket and gives the address it is sent to.
pub(crate) fn consent(world: &World, url: &str) -> String {
    world.bitbucket.set_consent(Consent::Granted);
    let done = world
        .run(
            Path::new("/usr/bin/curl"),
            ["-s", "-o", "/dev/null", "-w", "%{redirect_url}", "--cacert"],
        )
        .arg(world.bitbucket.ca_file())
        .arg(url)
        .ok();
    assert!(
        done.starts_with("http://127.0.0.1"),
        "Bitbucket sends it back: {done}"
    );
    done
}

/// Reads the page's address from what is shown.
fn page(output: &mut impl std::io::BufRead) -> String {
    let mut lines = output.lines().map(|line| line.expect("it is text"));
    lines
        .find(|line| line.trim_start().starts_with("http"))
        .expect("the page is shown")
        .trim()
        .to_owned()
}

#[test]
fn a_client_is_logged_in_by_flags_and_stdin_and_then_clones() {
    let world = world();
    world.repository("acme", "app");
    let arguments = [
        "work",
        "--client-credentials",
        "--client-id",
        &world.consumer.key,
        "--with-secret",
        "--workspace",
        "acme",
        "--try",
        "acme/app",
    ];
    let done = login(&world, &arguments)
        .input(&format!("{}\n", world.consumer.secret))
        .done()
        .expect(0);
    let stdout = done
        .stdout
        .replace("expires in 1 h 59 min", "expires in 2 h");
    assert_eq!(
        stdout,
        "Profile 'work' is logged in.\n  access token: scopes account, repository, repository:write, expires in 2 h\n\
         Repository 'acme/app' can be read.\n"
    );
    assert_eq!(
        done.stderr,
        "  saved in a file that only you can read\nNext: git clone bbtoken::<workspace>/<repository>\n      git bbtoken setup, for submodules, plain https addresses and git-lfs\n"
    );
    let config = world.gitconfig();
    assert!(
        config.contains("[bbtoken \"work\"]") && config.contains("workspace = acme"),
        "{config}"
    );
    assert!(
        !config.contains(&world.consumer.secret),
        "the secret is in no configuration"
    );
    world
        .git(["clone", "-q", "bbtoken::acme/app"])
        .without_client()
        .done()
        .expect(0)
        .quiet();
    assert_eq!(
        world.bitbucket.token_requests().len(),
        1,
        "the login's token is used"
    );
    let again = login(&world, &["work"]).done().expect(0);
    assert!(
        again.stdout.starts_with("Profile 'work' is logged in."),
        "a login can be repeated"
    );
    assert_eq!(world.gitconfig(), config);
}

#[test]
fn no_program_that_a_login_starts_sees_a_secret() {
    needs!("strace");
    let world = world();
    world.repository("ws", "repo");
    let arguments = [
        "bbtoken",
        "login",
        "work",
        "--client-credentials",
        "--client-id",
        &world.consumer.key,
        "--with-secret",
        "--try",
        "ws/repo",
    ];
    let traced = strace(&world, "execve", arguments, |run| {
        run.without_client().input(&world.consumer.secret)
    });
    traced.done.expect(0);
    let traced_setup = strace(
        &world,
        "execve",
        ["bbtoken", "setup", "--yes"],
        Run::without_client,
    );
    traced_setup.done.expect(0);
    let calls = traced.calls + &traced_setup.calls;
    let token = world.bbtoken(["token"]).without_client().ok();
    assert!(
        calls.contains("\"config\"") && calls.contains("ls-remote"),
        "programs were started"
    );
    assert!(
        calls.contains(&world.consumer.key),
        "arguments and environments are seen whole"
    );
    assert!(!calls.contains(&world.consumer.secret) && !calls.contains(token.trim_end()));
}

#[test]
fn a_provided_token_is_read_from_stdin_and_saved() {
    let world = world();
    world.repository("ws", "repo");
    let token = world.bitbucket.issue_resource_token();
    login(&world, &["bot", "--with-token"]).input(&token).ok();
    assert!(!world.gitconfig().contains(&token));
    world
        .git(["ls-remote", "-q", "bbtoken::ws/repo"])
        .without_client()
        .done()
        .expect(0)
        .quiet();
    let shown = world
        .bbtoken(["status", "bot", "--verbose"])
        .without_client()
        .ok();
    assert!(
        shown.contains("stored token   ") && !shown.contains(&token),
        "{shown}"
    );
    world.bbtoken(["logout", "bot"]).without_client().ok();
    let done = world.bbtoken(["token"]).without_client().fails(4);
    assert_eq!(
        done.stderr,
        format!(
            "error: no token is stored for profile 'bot' (looked in '{}')\nhint: run 'git bbtoken login bot'\n",
            crate::person::state(&world).display()
        )
    );
}

#[test]
fn a_login_whose_file_is_a_directory_is_not_reported_as_saved() {
    let world = world();
    let key = world.consumer.key.clone();
    let client = ["work", "--client-credentials", "--client-id", &key];
    let log_in = || {
        let run = login(&world, &client).args(["--with-secret", "--store", "file"]);
        run.input(&world.consumer.secret)
    };
    log_in().ok();
    let state = world.home().join(".local/state/git-remote-bbtoken");
    let files = || {
        fs::read_dir(&state)
            .expect("it was made")
            .map(|file| file.expect("it is there").path())
    };
    let file = files().next().expect("the secret is there");
    fs::remove_file(&file).expect("it is ours");
    fs::create_dir(&file).expect("the home is ours");
    let says = format!(
        "caused by: '{}' is a directory: remove it\n",
        file.display()
    );
    log_in().fails(7).says(&[&says]);
    assert_eq!(files().count(), 1, "no secret is left beside the directory");
    // As the error says.
    fs::remove_dir(&file).expect("it is empty");
    log_in().ok();
}

#[test]
fn a_login_that_fails_changes_nothing() {
    let world = world();
    let before = world.gitconfig();
    let key = world.consumer.key.clone();
    let client = [
        "work",
        "--client-credentials",
        "--client-id",
        key.as_str(),
        "--with-secret",
    ];
    let public = Consumer::new_public();
    world.bitbucket.add_consumer(public.clone());
    let cases: [(&[&str], &str, i32, &str); 8] = [
        (
            &client,
            "wrong",
            4,
            "hint: log in again, with the key and secret of the OAuth consumer",
        ),
        (
            &client,
            "",
            2,
            "the client secret is empty; give it on stdin",
        ),
        (
            &client,
            "two words",
            2,
            "the client secret contains more than one word",
        ),
        (
            &client[..4],
            "",
            2,
            "the client secret is missing; give it on stdin with --with-secret",
        ),
        (
            &["work", "--client-credentials"],
            "",
            2,
            "the client id is missing; give --client-id",
        ),
        (
            &["work"],
            "",
            2,
            "no login method was given; choose --browser, --client-credentials or --with-token",
        ),
        (
            &["wo rk", "--with-token"],
            "x",
            2,
            "'wo rk' is not a valid profile name",
        ),
        (
            &["work", "--with-token"],
            "ATBBxyz",
            5,
            "Bitbucket removed app passwords",
        ),
    ];
    for (arguments, stdin, code, said) in cases {
        login(&world, arguments)
            .input(stdin)
            .fails(code)
            .says(&[said]);
    }
    let arguments = [
        "work",
        "--client-credentials",
        "--client-id",
        &public.key,
        "--with-secret",
    ];
    login(&world, &arguments)
        .input(&public.secret)
        .fails(4)
        .says(&["tick 'This is a private consumer'"]);
    let memory = login(&world, &client)
        .env("BBTOKEN_STORE", "memory")
        .input(&world.consumer.secret)
        .fails(2);
    memory.says(&["the store 'memory' saves no login"]);
    assert_eq!(world.gitconfig(), before);
    assert!(!world.home().join(".local").exists(), "nothing is kept");
    login(&world, &["--client-secret", "x"])
        .fails(2)
        .says(&["unexpected argument '--client-secret'"]);
}

#[test]
fn login_names_the_permission_that_a_client_needs_to_push() {
    let world = world();
    let reader = Consumer {
        scopes: vec!["repository".to_owned()],
        ..Consumer::new_private()
    };
    world.bitbucket.add_consumer(reader.clone());
    let arguments = [
        "ro",
        "--client-credentials",
        "--client-id",
        &reader.key,
        "--with-secret",
    ];
    let done = login(&world, &arguments)
        .input(&reader.secret)
        .done()
        .expect(0);
    assert!(
        done.stdout.contains("scopes repository (cannot push)"),
        "{}",
        done.stdout
    );
    done.says(&["To push, tick 'Repositories: Write' at the OAuth consumer and log in again."]);
}

#[test]
fn a_browser_that_comes_back_ends_the_login() {
    needs!("curl");
    let world = world();
    world.repository("ws", "repo");
    let login = Waiting::start(&world, &[]);
    let answer = visit(&consent(&world, &login.page));
    assert!(
        answer.contains("Logged in"),
        "the page says that it is done: {answer}"
    );
    let (code, said) = login.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Profile 'me' is logged in.\n"), "{said}");
    world
        .git(["ls-remote", "-q", "bbtoken::ws/repo"])
        .without_client()
        .done()
        .expect(0)
        .quiet();
}

#[test]
fn a_refused_consent_is_shown_in_the_browser_and_on_the_terminal() {
    let world = world();
    let login = Waiting::start(&world, &[]);
    let given = |name: &str| {
        let mut pairs = login.page.split('&');
        let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.expect("the page's address has it").to_owned()
    };
    let back = given("redirect_uri")
        .replace("%3A", ":")
        .replace("%2F", "/");
    let answer = visit(&format!(
        "{back}?error=access_denied&state={}",
        given("state")
    ));
    assert!(answer.contains("Not logged in"), "{answer}");
    let (code, said) = login.end();
    assert_eq!(code, Some(4));
    assert!(
        said.contains("error: the login of profile 'me' failed: access_denied"),
        "{said}"
    );
    assert!(!world.gitconfig().contains("bbtoken"), "nothing is written");
    let state = world.home().join(".local");
    assert!(!state.exists(), "nothing is kept, and no directory for it");
}

#[test]
fn without_a_browser_the_address_is_pasted() {
    needs!("curl");
    let world = world();
    world
        .git([
            "config",
            "--global",
            "bbtoken.me.grant",
            "authorization-code",
        ])
        .ok();
    world
        .git([
            "config",
            "--global",
            "bbtoken.me.clientId",
            &world.consumer.key,
        ])
        .ok();
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("it can be written");
    let run = || login(&world, &["me", "--no-browser"]).env("BBTOKEN_CLIENT_SECRET_FILE", &secret);
    let mut command = run().into_command();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let page = page(&mut output);
    let callback = consent(&world, &page);
    let mut input = child.stdin.take().expect("it is a pipe");
    writeln!(input, "{callback}").expect("it is read");
    assert!(child.wait().expect("it ends").success());
    let exchanges = || world.bitbucket.token_requests().len();
    let before = exchanges();
    let pasted = person::log_in_by_pasting_of(&world, run(), &person::code_in);
    pasted.done.expect(0);
    assert_eq!(exchanges(), before + 1, "the code alone is enough here");
    run()
        .input("http://127.0.0.1/callback?code=x&state=y\n")
        .fails(4)
        .says(&["the address does not belong to this login"]);
    run()
        .fails(2)
        .says(&["no answer was given; nothing was changed"]);
}

#[test]
fn the_page_is_opened_where_there_is_a_display_and_never_through_ssh() {
    needs!("curl");
    let world = world();
    let programs = world.path("programs");
    let opened = world.path("opened");
    fs::create_dir(&programs).expect("the world can be written");
    world.run(Path::new("mkfifo"), [&opened]).ok();
    let script = format!(
        "#!/bin/sh\ntouch '{0}.begun'; printf '%s' \"$1\" >'{0}'\n",
        opened.display()
    );
    let browser = programs.join("xdg-open");
    put_program(&browser, script);
    let path = format!("{}:/usr/bin:/bin", programs.display());
    for (variable, value, is_opened) in [("X", "x", true), ("SSH_CONNECTION", "1 2 3 4", false)] {
        let arguments = [
            "me",
            "--browser",
            "--client-id",
            &world.consumer.key,
            "--with-secret",
        ];
        let run = login(&world, &arguments)
            .env("PATH", &path)
            .without("GIT_TERMINAL_PROMPT")
            .env("DISPLAY", ":7")
            .env(variable, value);
        let run = run.input(&world.consumer.secret);
        if !is_opened {
            let done = run.done().expect(2);
            done.says(&[
                "error: login cannot open a browser: this is an ssh session; give --no-browser",
            ]);
            assert!(
                !world.path("opened.begun").exists(),
                "no browser starts if the user would not see it"
            );
            continue;
        }
        let login = Waiting::for_browser(run.into_command());
        // Both ends of a pipe wait for each other.
        let start = fs::read_to_string(&opened).expect("it was opened");
        assert!(
            start.contains("/start/"),
            "it starts at a page of ours: {start}"
        );
        visit(&consent(&world, &page_behind(&start)));
        let (code, said) = login.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(
            !said.contains("Open this page"),
            "it is open already: {said}"
        );
        fs::remove_file(world.path("opened.begun")).expect("the browser began");
    }
}

#[test]
fn a_login_writes_no_setting_that_an_included_file_has() {
    let world = world();
    let id = &world.consumer.key;
    let included = format!(
        "[bbtoken \"work\"]\n\tgrant = client-credentials\n\tclientId = {id}\n\tworkspace = acme\n\tstore = file\n"
    );
    fs::write(world.home().join("dotfile"), included).expect("the home is ours");
    let include = ["config", "--global", "include.path", "dotfile"];
    world.git(include).ok();
    let before = world.gitconfig();
    let arguments = ["work", "--with-secret", "--workspace", "acme"];
    login(&world, &arguments).input(&world.consumer.secret).ok();
    assert_eq!(world.gitconfig(), before);
    login(&world, &["work", "--with-secret", "--workspace", "other"])
        .input(&world.consumer.secret)
        .ok();
    let added = "[bbtoken \"work\"]\n\tworkspace = other\n";
    assert_eq!(world.gitconfig(), format!("{before}{added}"));
}

#[test]
fn the_secret_and_the_pasted_address_come_from_the_same_input() {
    let world = world();
    world.repository("ws", "repo");
    let client = [
        "login",
        "me",
        "--no-browser",
        "--with-secret",
        "--client-id",
    ];
    let run = world
        .bbtoken(client)
        .arg(&world.consumer.key)
        .without_client();
    let mut child = run
        .into_command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("it is a pipe");
    writeln!(input, "{}", world.consumer.secret).expect("it is read");
    let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let page = page(&mut output);
    let callback = person::callback_of(&world, &page);
    writeln!(input, "{callback}").expect("it is read");
    let done = child.wait_with_output().expect("it ends");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    world
        .git(["ls-remote", "-q", "bbtoken::ws/repo"])
        .without_client()
        .done()
        .expect(0)
        .quiet();
}

#[test]
fn a_command_that_waits_for_a_secret_on_stdin_says_so() {
    let world = world();
    let client = [
        "login",
        "me",
        "--client-credentials",
        "--with-secret",
        "--client-id",
    ];
    let run = world
        .bbtoken(client)
        .arg(&world.consumer.key)
        .without_client();
    let mut child = run
        .into_command()
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it is text");
    assert_eq!(line, "Reading the client secret from standard input …\n");
    let mut input = child.stdin.take().expect("it is a pipe");
    writeln!(input, "{}", world.consumer.secret).expect("it is read");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it is text");
    assert!(child.wait().expect("it ends").success(), "{rest}");
}

/// Logs the profile `bot` in with a good token, which it gives, and notes what is configured then.
fn logged_in(world: &World) -> (String, String) {
    let token = world
        .bitbucket
        .issue_access_token(&["account", "repository"]);
    login(world, &["bot", "--with-token"]).input(&token).ok();
    (token, world.gitconfig())
}

#[track_caller]
fn is_unchanged(world: &World, (token, config): &(String, String)) {
    let kept = world.bbtoken(["token", "--profile", "bot"]);
    assert_eq!(
        kept.without_client().ok().trim_end(),
        token,
        "the earlier token stays"
    );
    assert_eq!(&world.gitconfig(), config);
}

fn answer(status: u16, body: &str) -> Action {
    Action::Answer {
        status,
        headers: Vec::new(),
        body: body.into(),
        early: false,
    }
}

fn api(action: Action) -> Rule {
    Rule {
        kind: Some(Kind::Api),
        ..Rule::new(action)
    }
}

#[test]
fn a_token_that_bitbucket_refuses_leaves_the_earlier_one_in_place() {
    let world = world();
    let before = logged_in(&world);
    let with_token = ["bot", "--with-token", "--account", "ann"];
    login(&world, &with_token).input("ATCTTwrong").fails(5).says(&[
        "error: the login of profile 'bot' failed, and nothing was changed: Bitbucket refused to name the account of the token; ",
        "check such a token with --try <workspace>/<repository>",
    ]);
    is_unchanged(&world, &before);
    // As the message says.
    world.repository("ws", "repo");
    let tried = ["bot", "--with-token", "--try", "ws/repo"];
    login(&world, &tried)
        .input("ATCTTwrong")
        .fails(5)
        .says(&["error: the login of profile 'bot' failed, and nothing was changed\ncaused by: "]);
    is_unchanged(&world, &before);
    let of_repository = world.bitbucket.issue_resource_token();
    let message = "Token is invalid, expired, or not supported for this endpoint.";
    let refusal = answer(401, &format!(r#"{{"error":{{"message":"{message}"}}}}"#));
    world.bitbucket.script(api(refusal));
    let done = login(&world, &tried).input(&of_repository).done().expect(0);
    assert!(done.stdout.contains("Repository 'ws/repo' can be read."));
    done.says(&[
        "Bitbucket refused to name the account of the token: the token is wrong, or it cannot read the account",
    ]);
}

#[test]
fn an_unchecked_token_is_saved_only_if_the_user_agrees() {
    let world = world();
    let before = logged_in(&world);
    let new = world.bitbucket.issue_access_token(&["account"]);
    let unreachable = |run: Run| run.env("BBTOKEN_BASE_URL", "https://localhost:1");
    let with_token = login(&world, &["bot", "--with-token"]).input(&new);
    unreachable(with_token).fails(6).says(&[
        "error: the login of profile 'bot' failed, and nothing was changed: the helper could not check the token; give --no-check to save it without a check\ncaused by: ",
    ]);
    let failing = [
        (Action::CloseWithoutAnswer, 6),
        (answer(500, "oops"), 2),
        (answer(403, "no"), 2),
        (answer(200, "<html>"), 2),
    ];
    for (action, code) in failing {
        world.bitbucket.script(api(action));
        let run = login(&world, &["bot", "--with-token"]).input(&new);
        run.fails(code)
            .says(&["the helper could not check the token", "--no-check"]);
        is_unchanged(&world, &before);
    }
    world.bitbucket.clear_requests();
    let run = login(&world, &["bot", "--with-token", "--no-check"]);
    assert_eq!(
        run.input(&new).ok(),
        "Profile 'bot' was saved without a check.\n"
    );
    assert!(world.bitbucket.requests().is_empty());
    let kept = world.bbtoken(["token"]).without_client().ok();
    assert_eq!(kept.trim_end(), new);
}

#[test]
fn a_client_that_is_refused_leaves_the_secret_and_the_token_in_place() {
    let world = world();
    let key = world.consumer.key.clone();
    let client = [
        "work",
        "--client-credentials",
        "--client-id",
        &key,
        "--with-secret",
    ];
    login(&world, &client).input(&world.consumer.secret).ok();
    let token = || world.bbtoken(["token"]).without_client().ok();
    let before = (token(), world.gitconfig());
    login(&world, &client).input("wrong").fails(4);
    let tried = [&client[..], &["--try", "ws/none"]].concat();
    world.bitbucket.clear_requests();
    assert_eq!((token(), world.gitconfig()), before);
    assert!(
        world.bitbucket.token_requests().is_empty(),
        "the cached token stays"
    );
    login(&world, &tried)
        .input(&world.consumer.secret)
        .fails(5)
        .says(&["error: the login of profile 'work' failed, and nothing was changed\ncaused by: "]);
    // A token that is kept does not hide that the secret is wrong.
    let unchecked = [&client[..], &["--no-check"]].concat();
    login(&world, &unchecked).input("wrong").ok();
    login(&world, &["work"]).ok();
    login(&world, &client).input(&world.consumer.secret).ok();
    assert_eq!(world.gitconfig(), before.1);
}

#[test]
fn a_browser_login_that_cannot_read_the_repository_is_not_saved() {
    let world = world();
    person::person(&world);
    let list = || person::list(&world).done().code;
    assert_eq!(list(), Some(0));
    let run = person::manage(&world, ["login", "work", "--browser", "--try", "ws/none"]);
    let done = person::log_in_by(&world, run).expect(5);
    done.says(&["error: the login of profile 'work' failed, and nothing was changed"]);
    let _ = fs::remove_dir_all(world.cache());
    world.bitbucket.clear_requests();
    assert_eq!(list(), Some(0), "the earlier login works");
    assert_eq!(person::refreshes(&world), 1);
}

#[test]
fn the_address_to_try_is_checked_before_anything_else() {
    let world = world();
    let before = world.gitconfig();
    for (address, said) in [
        ("nonsense", "cannot use address 'nonsense'"),
        (
            "other@ws/repo",
            "'other@ws/repo' is not an address for profile 'bot'",
        ),
        (
            "https://evil.example/ws/repo",
            "its host is not a configured Bitbucket",
        ),
    ] {
        let run = login(&world, &["bot", "--with-token", "--try", address]);
        // The token is not asked for: there is none.
        run.fails(2).says(&[said]);
    }
    assert!(world.bitbucket.requests().is_empty());
    assert_eq!(world.gitconfig(), before);
}
