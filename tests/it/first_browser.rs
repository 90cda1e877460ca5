//! The first `git clone` of a new user whose client is known: the only question is the one in a real Chromium.

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs::{self},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
};

use bitbucket_local::Consent;

use crate::{
    browser::Browser,
    conversation::converse_by,
    first::{ASKS, CLONE, is_cloned, packaged, without_time, world},
    needs::needs,
    processes::{self, Process},
    submodules::{are_there, superproject},
    support::World,
};

/// What the terminal shows where the user grants access.
const GRANTED: &str = "Git needs a login for localhost as profile 'default'. After the login, git continues.\n\
    Grant access on the page in your browser.\n\
    If no page has opened, press Ctrl-C and run 'git bbtoken login default --no-browser'.\n\
    Waiting for the browser to come back to http://127.0.0.1:<port>/callback …\n\
    Profile 'default' is logged in.\n\
    \x20 account: Local User (local)\n\
    \x20 access token: scopes account, repository, repository:write, expires in <time>\n\
    \x20 saved in a file that only you can read\n";
const CTRL_C: &str = "\u{3}";
const WAITING: &str = "Waiting for the browser to come back to ";

/// A user at a terminal, whose browser is a program that names the page.
struct User {
    world: World,
    /// What the shell runs before each line.
    environment: String,
    page: PathBuf,
}

impl User {
    fn new(world: World) -> Self {
        world.bitbucket.set_consent(Consent::Ask);
        let page = world.path("page");
        world.run(Path::new("mkfifo"), [&page]).ok();
        let browser = world.path("browser");
        let script = format!("#!/bin/sh\nprintf '%s' \"$1\" >'{}'\n", page.display());
        crate::support::put_program(&browser, script);
        let environment = format!("{ASKS}export BROWSER='{}'; ", browser.display());
        User {
            world,
            environment,
            page,
        }
    }

    /// The programs of a packager come first.
    fn packaged() -> Self {
        let mut user = User::new(world());
        let (directory, _) = packaged(&user.world);
        let path = format!("export PATH='{}':\"$PATH\"; ", directory.display());
        user.environment.push_str(&path);
        user
    }

    /// The administrator has set a client and `setup --system`.
    fn of_an_administrator() -> Self {
        let mut user = User::new(world());
        let world = &user.world;
        let (file, secret) = (world.path("system"), world.path("secret"));
        fs::write(&secret, &world.consumer.secret).expect("the world can be written");
        let text = format!(
            "[bbtoken]\n\tclientId = {}\n\tgrant = authorization-code\n\tclientSecretCommand = cat '{}'\n",
            world.consumer.key,
            secret.display()
        );
        fs::write(&file, text).expect("the world can be written");
        let setup = world.bbtoken(["setup", "--system", "--yes"]);
        let setup = setup.without_client().without("GIT_CONFIG_NOSYSTEM");
        setup.env("GIT_CONFIG_SYSTEM", &file).ok();
        let system = format!(
            "unset GIT_CONFIG_NOSYSTEM; export GIT_CONFIG_SYSTEM='{}'; ",
            file.display()
        );
        user.environment.push_str(&system);
        user
    }

    /// Runs a line in which nothing opens a browser.
    fn run(&self, line: &str) -> (String, Option<i32>) {
        converse_by(&self.world, &self.line(line), &[], &|_, _| String::new())
    }

    /// Runs a line; gives the page to an act once the browser has it. What that returns is typed on the terminal.
    fn log_in(&self, line: &str, act: &dyn Fn(&str) -> &'static str) -> (String, Option<i32>) {
        let (shown, code) = converse_by(&self.world, &self.line(line), &[WAITING], &|_, _| {
            // Both ends of a pipe wait for each other.
            let page = fs::read_to_string(&self.page).expect("the browser was started");
            act(&page).to_owned()
        });
        (without_numbers(&shown), code)
    }

    fn line(&self, line: &str) -> String {
        format!("{}{line}", self.environment)
    }

    /// Expects a first clone without a question on the terminal, and later commands without a login.
    fn clones_with_consent_alone(&self, browser: &Browser<'_>, clone: &str) {
        let (shown, code) = self.log_in(clone, &|page| {
            grant(browser, page);
            ""
        });
        assert_eq!((shown.as_str(), code), (GRANTED, Some(0)));
        assert!(is_cloned(&self.world));
        let requests = || self.world.bitbucket.token_requests().len();
        let before = requests();
        let (shown, code) = self.run("git -C tree fetch -q");
        assert_eq!(
            (shown.as_str(), code),
            ("", Some(0)),
            "a later command asks no question"
        );
        assert_eq!(requests(), before, "the token is kept");
    }
}

fn grant(browser: &Browser<'_>, page: &str) {
    browser.open(page);
    browser.click("button[value=grant]");
    browser.page_of("Logged in");
}

/// What the terminal shows until the browser comes back.
fn begin() -> &'static str {
    let begin = GRANTED.split_once("Profile 'default' is logged in.");
    begin.expect("it goes on so").0
}

/// The port on which the login waits.
fn port(shown: &str) -> u16 {
    let rest = shown
        .split_once("http://127.0.0.1:")
        .expect("it is shown")
        .1;
    let port = rest.split_once('/').expect("a path follows").0;
    port.parse().expect("it is a number")
}

/// Leaves out what differs from run to run.
fn without_numbers(shown: &str) -> String {
    without_time(&shown.replace(&format!(":{}/", port(shown)), ":<port>/"))
}

#[test]
fn a_first_clone_with_a_built_in_client_asks_only_for_consent() {
    needs!("script", "chromium", "chromedriver", "curl");
    let user = User::packaged();
    let browser = Browser::start(&user.world);
    user.clones_with_consent_alone(&browser, CLONE);
}

#[test]
fn a_first_clone_with_an_administrators_client_asks_only_for_consent() {
    needs!("script", "chromium", "chromedriver", "curl");
    let user = User::of_an_administrator();
    let browser = Browser::start(&user.world);
    user.clones_with_consent_alone(&browser, CLONE);
}

#[test]
fn a_first_clone_with_submodules_logs_in_once() {
    needs!("script", "chromium", "chromedriver", "curl");
    let user = User::of_an_administrator();
    let world = &user.world;
    world.repository("ws", "lib");
    world.repository("ws", "tools");
    let absolute = world.bitbucket.repository_url("ws", "tools");
    superproject(world, "super", &[("lib", "../lib"), ("tools", &absolute)]);
    // What made the repositories has left a token there.
    fs::remove_dir_all(world.cache()).expect("it is there");
    let browser = Browser::start(world);
    let clone = "git clone -q --recurse-submodules bbtoken::ws/super tree";
    user.clones_with_consent_alone(&browser, clone);
    are_there(world, &world.path("tree"), &["lib", "tools"]);
}

#[test]
fn a_clone_without_consent_ends_with_one_error_and_the_next_one_works() {
    needs!("script", "chromium", "chromedriver", "curl");
    let user = User::packaged();
    let browser = Browser::start(&user.world);
    let (shown, code) = user.log_in(CLONE, &|page| {
        browser.open(page);
        browser.click("button[value=cancel]");
        browser.page_of("Not logged in");
        ""
    });
    let expected = format!(
        "{}\
         error: the login of profile 'default' failed: access_denied: The resource owner denied the request\n\
         hint: run 'git bbtoken login default'\n",
        begin()
    );
    assert_eq!((shown, code), (expected, Some(128)));
    assert!(!user.world.path("tree").exists(), "no clone is left");
    user.clones_with_consent_alone(&browser, CLONE);
}

#[test]
fn a_user_who_closes_the_browser_ends_the_clone_with_ctrl_c_and_clones_again() {
    needs!("script", "chromium", "chromedriver", "curl");
    let user = User::packaged();
    let world = &user.world;
    let running = RefCell::new((0, Vec::new()));
    let (shown, code) = user.log_in(CLONE, &|page| {
        let browser = Browser::start(world);
        browser.open(page);
        browser.page_of("Confirm access to your account");
        drop(browser);
        let programs = processes::of(world).into_iter().filter(is_git);
        running.replace((port(page), programs.collect()));
        CTRL_C
    });
    let (port, programs) = running.into_inner();
    let names: Vec<_> = programs
        .iter()
        .filter_map(|one| one.program.file_name())
        .collect();
    for name in ["git-bbtoken", "git-remote-bbtoken"] {
        assert!(names.contains(&OsStr::new(name)), "{name} waits: {names:?}");
    }
    processes::all_end(&programs);
    assert_eq!((shown, code), (format!("{}^C", begin()), Some(130)));
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    assert!(connected.is_err(), "the port is closed");
    assert!(!world.path("tree").exists(), "no clone is left");
    user.clones_with_consent_alone(&Browser::start(world), CLONE);
}

fn is_git(process: &Process) -> bool {
    let name = process.program.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with("git"))
}
