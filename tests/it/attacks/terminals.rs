//! Untrusted text never controls a terminal, and no suggested command runs it.

use std::fs;

use crate::support::{Done, World, on_every_git};

/// What clears a screen, sets a title, turns text around, ends a line, or starts a command.
const HARM: &str = "\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\u{2028}$(touch ran)`touch ran`;touch ran;'";

/// Characters that act on a terminal, but for the ends of our own lines.
fn acts(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn plain(done: &Done) {
    for text in [&done.stdout, &done.stderr] {
        assert!(
            !text.contains(acts),
            "text from outside acts on the terminal: {}: {text:?}",
            done.shown
        );
        assert!(
            !text.lines().any(|line| line.starts_with("FORGED")),
            "text from outside forges a line: {}: {text}",
            done.shown
        );
    }
}

/// Escapes for git's configuration.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

/// A repository whose own configuration, modules and names hold [`HARM`].
fn hostile(world: &World, directory: &str) -> std::path::PathBuf {
    let tree = world.path(directory);
    world.git(["init", "-q"]).arg(&tree).ok();
    let harm = escaped(&format!("{HARM}\nFORGED"));
    // A subsection has no line ends.
    let name = escaped(HARM);
    let url = "https://u:p@bitbucket.org/ws/r";
    let config = tree.join(".git/config");
    let mut text = fs::read_to_string(&config).expect("it was made");
    for (section, line) in [
        ("remote \"NAME\"", "url = https://u:p@bitbucket.org/ws/HARM"),
        ("remote \"NAME\"", "url = https://u:p@bitbucket.org/ws/r"),
        ("remote \"origin\"", "url = \"bbtoken::ws/repo\""),
        ("submodule \"NAME\"", "url = https://bitbucket.org/ws/r"),
        ("http \"https://NAME/\"", "extraHeader = Authorization: x"),
        ("http \"NAME\"", "sslVerify = \"false\""),
        ("url \"https://NAME/\"", "insteadOf = \"bbtoken::HARM\""),
        ("credential \"NAME\"", "helper = \"HARM\""),
        ("credential", "helper = \"HARM\""),
        ("lfs", "url = \"https://bitbucket.org/HARM\""),
        ("branch \"NAME\"", "remote = https://bitbucket.org/ws/r"),
        ("bbtoken", "lfs = \"HARM\""),
    ] {
        let section = section.replace("NAME", &name);
        let line = line.replace("HARM", &harm);
        text.push_str(&format!("[{section}]\n\t{line}\n"));
    }
    fs::write(&config, text).expect("it is ours");
    let modules = format!("[submodule \"{name}\"]\n\tpath = \"x{harm}\"\n\turl = {url}\n");
    fs::write(tree.join(".gitmodules"), modules).expect("the tree can be written");
    fs::write(tree.join(".gitattributes"), "*.bin filter=lfs\n").expect("it can be written");
    fs::write(tree.join("a.bin"), "").expect("it can be written");
    world.git(["add", "a.bin"]).within(&tree).done();
    tree
}

#[test]
fn names_and_values_of_a_repository_never_act_on_a_terminal() {
    on_every_git(|world| {
        let tree = hostile(world, &format!("tree-{HARM}"));
        for arguments in [
            &["doctor"][..],
            &["doctor", "origin"],
            &["doctor", HARM],
            &["doctor", "--report"],
            &["doctor", "--json"],
            &["remote", "convert", "--dry-run"],
            &["remote", "convert", "--yes"],
            &["remote", "convert", "--back", "--dry-run"],
            &["status"],
            &["status", "--verbose", "--color=always"],
            &["status", "--json"],
            &["status", HARM],
            &["status", "--explain", HARM],
            &["token", "--profile", HARM],
            &["exec", "--netrc", HARM, "--", HARM],
            &["exec", "--", HARM],
            &["login", HARM],
            &["login", "--store", HARM],
            &["login", "--port", HARM],
            &["logout", HARM],
            &["setup", "--dry-run"],
            &["help", HARM],
            &["man", "--directory", "a.bin/x"],
            &[HARM],
            &["status", &format!("--{HARM}")],
            &["token", HARM],
        ] {
            let done = world.bbtoken(arguments).within(&tree).done();
            plain(&done);
        }
        for arguments in [&["fetch", "origin"][..], &["fetch", HARM], &["ls-remote"]] {
            // What git itself says is its own affair.
            let done = world.git(arguments).within(&tree).done();
            let ours = done.stderr.lines().filter(|line| line.contains("bbtoken"));
            assert!(!ours.collect::<String>().contains(acts), "{done:?}");
        }
        assert!(!tree.join("ran").exists() && !world.path("ran").exists());
    });
}

#[test]
fn values_of_variables_and_of_the_users_configuration_never_act_on_a_terminal() {
    on_every_git(|world| {
        let harm = format!("{HARM}\nFORGED");
        let nowhere = world.path(&format!("no{harm}")).display().to_string();
        for (variable, value) in [
            ("BBTOKEN_PROFILE", harm.clone()),
            ("BBTOKEN_BASE_URL", harm.clone()),
            ("BBTOKEN_BASE_URL", format!("https://{harm}")),
            ("BBTOKEN_TOKEN_URL", format!("https://x/?{harm}")),
            ("BBTOKEN_STORE", harm.clone()),
            ("BBTOKEN_TRANSPORT", harm.clone()),
            ("BBTOKEN_CLIENT_ID", harm.clone()),
            ("BBTOKEN_HOME", nowhere.clone()),
            ("BBTOKEN_TRACE", harm.clone()),
            ("BBTOKEN_CLIENT_SECRET_FILE", nowhere.clone()),
            ("HTTPS_PROXY", format!("http://127.0.0.1:1/{harm}")),
            ("HTTPS_PROXY", format!("{harm}://127.0.0.1:1")),
            ("GIT_CONFIG_GLOBAL", nowhere.clone()),
            ("GIT_CONFIG_PARAMETERS", harm.clone()),
            ("GIT_SSL_CAINFO", nowhere.clone()),
            ("NETRC", nowhere.clone()),
        ] {
            for arguments in [
                &["token"][..],
                &["status"],
                &["status", "--verbose"],
                &["status", "--json"],
                &["doctor"],
            ] {
                let mut run = world.bbtoken(arguments).env(variable, &value);
                if variable == "BBTOKEN_CLIENT_SECRET_FILE" {
                    run = run.without("BBTOKEN_CLIENT_SECRET");
                }
                plain(&run.done());
            }
        }
        let key = |name: &str| format!("bbtoken.work.{name}={harm}");
        for name in [
            "clientId",
            "grant",
            "store",
            "account",
            "transport",
            "workspace",
            "pushProfile",
            "clientSecretCommand",
            "baseUrl",
            "tokenUrl",
        ] {
            for command in [
                &["status"][..],
                &["status", "--verbose"],
                &["status", "--json"],
                &["doctor"],
            ] {
                let run = world.git(["-c", "bbtoken.work.clientId=x", "-c", &key(name)]);
                plain(&run.arg("bbtoken").args(command).without_client().done());
            }
        }
    });
}

#[test]
fn a_command_that_doctor_suggests_runs_nothing_of_the_text_in_it() {
    on_every_git(|world| {
        let tree = hostile(world, "o'$(touch ran)`touch ran`;touch ran;");
        // Without what cannot be shown, the command is suggested.
        let config = tree.join(".git/config");
        let text = fs::read_to_string(&config).expect("it is text");
        let harmless = text.replace(|c: char| acts(c) && c != '\t', "");
        fs::write(&config, harmless).expect("it is ours");
        let done = world.bbtoken(["doctor"]).within(&tree).done();
        let commands: Vec<_> = done
            .stdout
            .lines()
            .filter_map(|line| line.trim().strip_prefix("-> git config --file "))
            .collect();
        assert!(!commands.is_empty(), "{}", done.stdout);
        for command in commands {
            let command = command.split("; then revoke").next().unwrap_or("");
            let line = format!("git config --file {command}");
            world
                .run(std::path::Path::new("/bin/sh"), ["-c", &line])
                .within(&tree)
                .done();
            assert!(!tree.join("ran").exists(), "{line}");
        }
    });
}
