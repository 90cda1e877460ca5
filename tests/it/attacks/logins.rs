//! A login by browser, while another user of the machine reads the arguments of every program.

use std::{fs, path::PathBuf};

use bitbucket_local::Consent;

use crate::{
    login::{Waiting, consent, page_behind, visit},
    needs::needs,
    support::{Run, World, gits, put_program},
};

/// A browser that notes its arguments and variables, and opens the page.
fn browser(world: &World) -> PathBuf {
    let program = world.path("a browser");
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{0}.arguments'\nenv >'{0}.variables'\n\
         for page; do :; done\n\
         exec curl -s -L --cacert '{1}' -o '{0}.page' -w '%{{redirect_url}}\\n%{{num_redirects}}' \"$page\" >'{0}.seen'\n",
        program.display(),
        world.bitbucket.ca_file().display()
    );
    put_program(&program, text);
    program
}

/// Prepares a login that opens a browser.
fn login(world: &World, browser: &str) -> Run {
    let client = ["login", "me", "--browser", "--with-secret", "--client-id"];
    world
        .bbtoken(client)
        .arg(&world.consumer.key)
        .without("BBTOKEN_CLIENT_ID")
        .without("GIT_TERMINAL_PROMPT")
        .env("BROWSER", browser)
        .input(&world.consumer.secret)
}

#[test]
fn a_browser_starts_at_a_page_that_works_once_and_gets_no_variable_of_ours() {
    needs!("curl");
    let world = World::new(gits().remove(0));
    let browser = browser(&world);
    let noted = |kind: &str| fs::read_to_string(browser.with_extension(kind)).unwrap_or_default();
    world.bitbucket.set_consent(Consent::Granted);
    let quoted = format!("/no/such/browser:'{}' --new-window %s", browser.display());
    // Over ssh, too: it is the browser that the user chose.
    let run = login(&world, &quoted)
        .env("SSH_TTY", "/dev/pts/1")
        .env("BBTOKEN_CANARY", "canary");
    let (code, said) = Waiting::for_browser(run.into_command()).end();
    assert_eq!(code, Some(0), "the browser leads to the login: {said}");
    assert!(
        noted("page").contains("<h1>Logged in</h1>"),
        "{}",
        noted("page")
    );
    let arguments = noted("arguments");
    let start = arguments.lines().nth(1).expect("it was given a page");
    assert!(
        arguments.starts_with("--new-window\nhttp://127.0.0.1:") && arguments.lines().count() == 2,
        "{arguments}"
    );
    for part in ["state=", "code_challenge", "client_id", &world.consumer.key] {
        assert!(!arguments.contains(part), "'{part}' in {arguments}");
    }
    assert!(start.len() > 60, "the path is a secret: {start}");
    let variables = noted("variables");
    assert!(variables.contains("HOME="), "{variables}");
    for part in ["BBTOKEN_", "GIT_", "canary", &world.consumer.secret] {
        assert!(!variables.contains(part), "'{part}' in {variables}");
    }
}

#[test]
fn the_start_page_is_dead_after_its_first_use() {
    needs!("curl");
    let world = World::new(gits().remove(0));
    let note = world.path("page");
    let program = world.path("note");
    // It comes only when the file is whole.
    let text = format!(
        "#!/bin/sh\nprintf %s \"$1\" >'{0}.new' && mv '{0}.new' '{0}'\n",
        note.display()
    );
    put_program(&program, text);
    let run = login(&world, &program.display().to_string());
    let login = Waiting::for_browser(run.into_command());
    let start = loop {
        match fs::read_to_string(&note) {
            Ok(start) => break start,
            Err(_) => std::thread::yield_now(),
        }
    };
    let page = page_behind(&start);
    assert!(page.contains("state="), "{page}");
    let second = visit(&start);
    assert!(
        second.starts_with("HTTP/1.1 410") && !second.contains("state="),
        "{second}"
    );
    visit(&consent(&world, &page));
    let (code, said) = login.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn no_browser_starts_where_the_user_wants_none() {
    needs!("curl");
    let world = World::new(gits().remove(0));
    let browser = browser(&world);
    let name = browser.display().to_string();
    let quoted = format!("'{name}'");
    let config = world.gitconfig();
    let ask = |value: &str| {
        fs::write(world.home().join(".gitconfig"), &config).expect("the home is ours");
        let key = ["config", "--global", "credential.interactive", value];
        world.git(key).ok();
        login(&world, &quoted)
    };
    let runs = [
        login(&world, "none"),
        login(&world, &quoted).env("GIT_TERMINAL_PROMPT", "0"),
        ask("false"),
        ask("never"),
    ];
    for run in runs {
        let login = Waiting::of(run.into_command());
        visit(&consent(&world, &login.page));
        let (code, said) = login.end();
        assert_eq!(code, Some(0), "the printed page is enough: {said}");
        let started = browser.with_extension("arguments").exists();
        assert!(!started, "no browser is started");
    }
}
