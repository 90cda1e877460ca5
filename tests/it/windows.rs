//! The programs for Windows with a git.exe, under wine. `scripts/test --windows` builds both, and runs these tests.
//!
//! Wine is not Windows: its console, its certificates and its permissions only resemble those of Windows.

mod setup;

use setup::Machine;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bitbucket_local::{Action, Kind, Recorded, Rule};

use crate::{
    inspect::files,
    lfs,
    login::{Waiting, consent, page_behind},
    person::{configure_login, log_in_by, refreshes},
    processes::{self, Process},
    signals::{start_and_hold, stderr_of},
    submodules::superproject,
    support::{Run, World, gits},
    terminals::DUMB,
};

/// Where `scripts/windows` puts everything.
fn place() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("windows");
    assert!(place.exists(), "run scripts/test --windows");
    place
}

/// A path as Windows programs know it.
fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}

/// A world whose git and helper are Windows programs.
struct Windows(World);

impl Windows {
    /// A user with `ws/repo` and an OAuth client in the environment.
    fn new() -> Self {
        let world = World::new(gits().remove(0));
        world.repository("ws", "repo");
        Windows(world)
    }

    /// What a Windows program finds in its environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let world = &self.0;
        let prefix = place().join("prefix").display().to_string();
        vec![
            // Wine takes the encoding of paths from it.
            ("LC_ALL", "C.UTF-8".into()),
            ("WINEPREFIX", prefix),
            ("WINEDEBUG", "-all".into()),
            ("WINEDLLOVERRIDES", "mscoree,mshtml,winedbg.exe=".into()),
            ("WINEPATH", windows_path(&programs())),
            ("WINEHOME", windows_path(&world.home())),
            ("BBTOKEN_HOME", windows_path(&world.path("bbtoken"))),
            ("GIT_SSL_CAINFO", windows_path(world.bitbucket.ca_file())),
        ]
    }

    /// Prepares any Windows program, which inherits nothing.
    fn wine(&self, program: impl AsRef<OsStr>) -> Run {
        let mut run = self.0.run(Path::new(WINE), [program]);
        for (name, value) in self.environment() {
            run = run.env(name, value);
        }
        // It also forbids a browser.
        run.without("GIT_TERMINAL_PROMPT")
    }

    fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = A>) -> Run {
        self.wine(programs().join(format!("{program}.exe")))
            .args(arguments)
    }

    fn git<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        self.run("git", arguments)
    }

    fn bbtoken<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        self.run("git-bbtoken", arguments)
    }

    /// Prepares the shortest command that needs a token.
    fn list(&self) -> Run {
        self.git(["ls-remote", "bbtoken::ws/repo"])
    }

    fn configure(&self, key: &str, value: &str) {
        self.0.git(["config", "--global", key, value]).ok();
    }

    /// Logs the profile `work` in and out, and renews its login meanwhile.
    fn keeps_a_login(&self, store: &str, prepare: &dyn Fn(Run) -> Run) {
        let world = &self.0;
        configure_login(world, "work", &world.consumer);
        self.configure("bbtoken.work.store", store);
        let prepare = |run: Run| prepare(run.without("BBTOKEN_CLIENT_ID"));
        log_in_by(
            world,
            prepare(self.bbtoken(["login", "work"]).env("BROWSER", "none")),
        )
        .expect(0);
        for renewed in 0..3 {
            prepare(self.list()).done().expect(0).quiet();
            assert_eq!(refreshes(world), renewed, "each login is renewed once");
            world.bitbucket.advance_clock(Duration::from_secs(7_300));
        }
        prepare(self.bbtoken(["logout", "work"])).ok();
        prepare(self.list())
            .fails(128)
            .says(&["profile 'work' is not logged in"]);
    }
}

/// The loader of Debian's package wine64.
const WINE: &str = "/usr/lib/wine/wine64";

/// The directory with git.exe, our programs and their DLLs.
fn programs() -> PathBuf {
    place().join("git/mingw64/bin")
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn git_clones_pushes_and_fetches_in_a_directory_with_spaces_and_umlauts() {
    let windows = Windows::new();
    let world = &windows.0;
    let tree = world.path("Grüße an alle/mein Klon");
    let done = windows.git(["clone", "-q", "bbtoken::ws/repo", &windows_path(&tree)]);
    done.done().expect(0).quiet();
    let file = fs::read_to_string(tree.join("file"));
    assert_eq!(file.expect("it is cloned"), "one\n");
    fs::write(tree.join("zwölf"), "12\n").expect("it is ours");
    windows.git(["add", "."]).within(&tree).ok();
    windows
        .git(["commit", "-q", "-m", "zwölf"])
        .within(&tree)
        .ok();
    let push = windows.git(["push", "-q", "origin", "main"]);
    push.within(&tree).done().expect(0).quiet();
    let bare = world.bitbucket.repository_path("ws", "repo");
    assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
    let other = world.clone("ws/repo", "other");
    world.commit(&other, "three", "3\n");
    world.publish(&bare, &other);
    let fetch = windows.git(["fetch", "-q"]).within(&tree);
    fetch.done().expect(0).quiet();
    assert_eq!(world.rev(&tree, "origin/main"), world.rev(&other, "HEAD"));
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn submodules_come_with_relative_addresses() {
    let windows = Windows::new();
    superproject(&windows.0, "app", &[("repo", "../repo.git")]);
    windows.configure("protocol.bbtoken.allow", "always");
    windows.git(["clone", "-q", "bbtoken::ws/app", "app"]).ok();
    let tree = windows.0.path("app");
    // 'git submodule' is a script for this program.
    let update = windows.git(["submodule--helper", "update", "--init", "--quiet"]);
    update.within(&tree).ok();
    let file = fs::read_to_string(tree.join("repo/file"));
    assert_eq!(file.expect("it is cloned"), "one\n");
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn lfs_files_are_uploaded_and_come_with_a_clone() {
    let windows = Windows::new();
    windows.git(["lfs", "install", "--skip-repo"]).ok();
    // Hooks are scripts for a shell.
    windows.configure("core.hooksPath", "/none");
    let clone = |name| {
        windows.git(["clone", "-q", "bbtoken::ws/repo", name]).ok();
        windows.0.path(name)
    };
    let tree = clone("first");
    windows.git(["lfs", "track", "*.bin"]).within(&tree).ok();
    fs::write(tree.join("a.bin"), lfs::content("a.bin")).expect("it is ours");
    for arguments in [
        "add .",
        "commit -qm large",
        "lfs push origin main",
        "push -q origin main",
    ] {
        windows.git(arguments.split(' ')).within(&tree).ok();
    }
    let cloned = fs::read(clone("second").join("a.bin"));
    assert_eq!(cloned.expect("it is cloned"), lfs::content("a.bin"));
    let requests = windows.0.bitbucket.lfs_requests();
    assert!(
        requests.iter().any(|request| request.method == "PUT"),
        "{requests:?}"
    );
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn ten_commands_at_once_make_one_token_request() {
    let windows = Windows::new();
    let commands: Vec<_> = (0..10)
        .map(|_| {
            let mut command = windows.list().into_command();
            let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        })
        .collect();
    for command in commands {
        let output = command.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    assert_eq!(windows.0.bitbucket.token_requests().len(), 1);
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_login_is_kept_in_files() {
    Windows::new().keeps_a_login("file", &|run| run);
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_login_is_kept_in_the_users_own_directory() {
    let windows = Windows::new();
    windows.keeps_a_login("file", &|run| run.without("BBTOKEN_HOME"));
    let users = place().join("prefix/drive_c/users");
    let mut homes = fs::read_dir(users).expect("wine has made it").flatten();
    let ours = |home: fs::DirEntry| {
        let home = home.path().join("AppData/Local/git-remote-bbtoken");
        home.join("cache").is_dir() && home.join("state").is_dir()
    };
    assert!(homes.any(ours), "it is below %LOCALAPPDATA%");
}

/// Wine makes an access list of the mode, and a new file gets its mode from the umask of wine's server.
#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn the_programs_give_no_other_user_access_to_the_cache_and_the_state() {
    let machine = Machine::new();
    machine.serve_after("umask 077");
    let windows = &machine.windows;
    let run = |program: &str, arguments: &[&str]| {
        let run = machine.run(programs().join(program), arguments);
        run.without("BBTOKEN_CLIENT_ID")
    };
    configure_login(&windows.0, "work", &windows.0.consumer);
    windows.configure("bbtoken.work.store", "file");
    let login = run("git-bbtoken.exe", &["login", "work"]);
    log_in_by(&windows.0, login.env("BROWSER", "none")).expect(0);
    run("git-bbtoken.exe", &["status", "--verbose"]).ok();
    let open = windows
        .0
        .run(Path::new("find"), ["bbtoken", "-perm", "/077"]);
    assert_eq!(open.ok(), "");
    let home = windows.0.path("bbtoken");
    for kind in ["cache", "state"] {
        assert!(!files(&home.join(kind)).is_empty(), "'{kind}' has files");
    }
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_login_of_2500_characters_is_kept_in_credential_manager() {
    let windows = Windows::new();
    windows.keeps_a_login("keyring", &|run| run);
    let kept = files(&windows.0.path("bbtoken/state"));
    assert!(
        kept.values().all(|content| content.len() < 100),
        "no file holds it"
    );
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn git_and_a_script_ask_for_a_credential() {
    let windows = Windows::new();
    windows.bbtoken(["setup", "--yes"]).ok();
    let base = windows.0.bitbucket.base_url();
    let host = base.trim_start_matches("https://");
    let request = format!("protocol=https\nhost={host}\npath=ws/repo.git\n\n");
    let direct = windows.bbtoken(["credential", "get"]).input(&request).ok();
    let by_git = windows.git(["credential", "fill"]).input(&request).ok();
    let password = |answer: &str| {
        let mut lines = answer.lines().map(str::to_owned);
        lines.find(|line| line.starts_with("password="))
    };
    assert!(password(&direct).is_some(), "{direct}");
    assert_eq!(password(&direct), password(&by_git));
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_client_secret_comes_from_a_command_with_backslashes_or_of_the_shell() {
    let windows = Windows::new();
    let world = &windows.0;
    let secret = world.path("the secret");
    fs::write(&secret, &world.consumer.secret).expect("it is ours");
    let file = windows_path(&secret);
    windows.configure("bbtoken.ci.clientId", &world.consumer.key);
    for command in [
        format!("C:\\windows\\system32\\cmd.exe /c type \"{file}\""),
        format!("!type \"{file}\""),
    ] {
        windows.configure("bbtoken.ci.clientSecretCommand", &command);
        windows
            .list()
            .without_client()
            .env("BBTOKEN_HOME", windows_path(&world.path("new")))
            .done()
            .expect(0)
            .quiet();
        fs::remove_dir_all(world.path("new")).expect("a token was cached");
    }
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_reader_that_closes_the_pipe_ends_the_programs_in_silence() {
    let windows = Windows::new();
    for run in [windows.bbtoken(["help"]), windows.bbtoken(["status"])] {
        let (reader, writer) = std::io::pipe().expect("the system gives one");
        drop(reader);
        let mut command = run.into_command();
        let output = command.stdout(writer).stderr(Stdio::piped()).output();
        let said = output.expect("it starts").stderr;
        assert_eq!(String::from_utf8_lossy(&said), "", "{command:?}");
    }
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_helper_whose_git_is_killed_ends_with_the_servers_answer() {
    let windows = Windows::new();
    let world = &windows.0;
    let hold = Rule::new(Action::Hold).kind(Kind::Token);
    let mut child = start_and_hold(world, hold, windows.list());
    let of_wine = processes::of(world);
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    world.bitbucket.release();
    let helper = of_wine.iter().find(|process| is_helper(process));
    assert!(
        helper.expect("the helper waits").ends(),
        "{}",
        stderr_of(child)
    );
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn ctrl_c_on_a_console_ends_git_and_the_helper_before_the_server_answers() {
    let windows = Windows::new();
    let world = &windows.0;
    let go = world.path("go");
    let line = format!(
        "mkfifo {go}; {{ read line <{go}; echo READY; }} & BBTOKEN_CLIENT_ID={} BBTOKEN_CLIENT_SECRET={} {}",
        world.consumer.key,
        world.consumer.secret,
        console(&windows, "git", "ls-remote bbtoken::ws/repo"),
        go = go.display()
    );
    world
        .bitbucket
        .script(Rule::new(Action::Hold).kind(Kind::Token));
    let (of_wine, (shown, _)) = std::thread::scope(|scope| {
        let run = scope.spawn(|| DUMB.run(world, &line, &[("READY", "\u{3}")]));
        let asked = |requests: &[Recorded]| requests.iter().any(|it| it.kind == Kind::Token);
        world
            .bitbucket
            .wait_for(asked)
            .expect("a token is requested");
        let of_wine = processes::of(world);
        fs::write(&go, "\n").expect("the shell reads it");
        (of_wine, run.join().expect("it ends"))
    });
    let helper = of_wine.iter().find(|process| is_helper(process));
    assert!(helper.expect("the helper waits").ends());
    assert!(!shown.contains("error:"), "no time limit ended it: {shown}");
    world.bitbucket.release();
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_secret_is_not_shown_on_a_console() {
    let windows = Windows::new();
    let world = &windows.0;
    let login = format!(
        "login ci --no-setup --client-credentials --client-id {}",
        world.consumer.key
    );
    // Else the terminal shows what is typed before wine reads it.
    let line = format!(
        "stty raw -echo; {}",
        console(&windows, "git-bbtoken", &login)
    );
    let secret = format!("{}\r", world.consumer.secret);
    let (shown, code) = DUMB.run(world, &line, &[("(not shown):", &secret)]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains(&world.consumer.secret), "{shown}");
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn a_login_opens_the_browser_of_the_user_or_of_the_system() {
    let windows = Windows::new();
    let world = &windows.0;
    for browser in [Some("C:\\windows\\system32\\winebrowser.exe"), None] {
        let opened = world.path("opened");
        let _ = fs::remove_file(&opened);
        let mut run = windows
            .bbtoken([
                "login",
                "me",
                "--browser",
                "--client-id",
                &world.consumer.key,
            ])
            .arg("--with-secret")
            .without_client()
            .input(&world.consumer.secret)
            .env("OPENED_PAGE", &opened);
        if let Some(browser) = browser {
            run = run.env("BROWSER", browser);
        }
        let login = Waiting::for_browser(run.into_command());
        let callback = consent(world, &page_behind(&opened_page(&opened)));
        drop(crate::login::bring(&callback));
        let (code, said) = login.end();
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn certificates_come_from_the_system_or_from_a_file() {
    let windows = Windows::new();
    for (backend, by_file) in [("openssl", true), ("schannel", false)] {
        windows.configure("http.sslBackend", backend);
        match by_file {
            true => windows.list().done().expect(0).quiet(),
            false => windows.list().fails(128),
        }
        .says(&match by_file {
            true => vec![],
            false => vec!["http.sslBackend", "http.sslCAInfo"],
        });
    }
}

fn is_helper(process: &Process) -> bool {
    process.shown.contains("git-remote-bbtoken")
}

/// The line that runs a Windows program on a terminal, which wine makes a console.
fn console(windows: &Windows, program: &str, arguments: &str) -> String {
    let words = windows.environment().into_iter();
    let words: Vec<_> = words
        .map(|(name, value)| format!("{name}='{value}'"))
        .collect();
    let program = programs().join(format!("{program}.exe"));
    format!(
        "{} {WINE} {} {arguments}",
        words.join(" "),
        program.display()
    )
}

/// Waits for the page that wine's browser was given.
fn opened_page(file: &Path) -> String {
    loop {
        match fs::read_to_string(file) {
            Ok(page) if page.ends_with('\n') => return page.trim_end().to_owned(),
            _ => std::thread::yield_now(),
        }
    }
}
