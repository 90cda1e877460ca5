//! Unknown keys and variables with this program's prefix: the message suggests the likely name and shows no value.

use crate::support::{Run, World, gits};

const VALUE: &str = "canary-of-a-value";

fn world() -> World {
    World::new(gits().remove(0))
}

/// Prepares a command in an environment without a client, but with an unknown variable.
fn with_unknown<const N: usize>(world: &World, arguments: [&str; N]) -> Run {
    let run = world.bbtoken(arguments).without_client();
    run.env("BBTOKEN_SECRET", VALUE)
        .env("BBTOKEN_COLOUR", VALUE)
}

fn set(world: &World, key: &str) {
    world.git(["config", "--global", key, VALUE]).ok();
}

#[test]
fn unknown_keys_and_variables_are_named_by_status_and_doctor() {
    let world = world();
    for key in [
        "bbtoken.work.clientIdd",
        "bbtoken.work.CLIENTID",
        "bbtoken.storre",
        "bbtoken.lfs",
        "bbtoken.nonsense",
        "remote.origin.bbtokenProfil",
    ] {
        set(&world, key);
    }
    let file = world.home().join(".gitconfig");
    let file = file.display();
    let done = with_unknown(&world, ["status"]).done().expect(0);
    assert_eq!(
        done.stderr,
        format!(
            "warning: bbtoken.work.clientidd in {file} is unknown; did you mean bbtoken.work.clientId?\n\
             warning: bbtoken.storre in {file} is unknown; did you mean bbtoken.store?\n\
             warning: bbtoken.nonsense in {file} is unknown and has no effect\n\
             warning: remote.origin.bbtokenprofil in {file} is unknown; did you mean remote.origin.bbtokenProfile?\n\
             warning: BBTOKEN_COLOUR is unknown and has no effect\n\
             warning: BBTOKEN_SECRET is unknown; did you mean BBTOKEN_CLIENT_SECRET?\n"
        )
    );
    let done = with_unknown(&world, ["doctor"]).done();
    for text in [
        &format!(
            "note     settings: bbtoken.storre in {file} is unknown\n         -> rename it to bbtoken.store\n"
        ),
        "note     settings: BBTOKEN_SECRET is unknown\n         -> rename it to BBTOKEN_CLIENT_SECRET\n",
        "note     settings: BBTOKEN_COLOUR is unknown\n         -> remove it, or correct its name: git bbtoken help reference\n",
    ] {
        assert!(done.stdout.contains(text), "'{text}' in {}", done.stdout);
    }
    let report = with_unknown(&world, ["doctor", "--report"]).done();
    let noted = "note     settings: an unknown setting or variable\n";
    assert!(report.stdout.contains(noted), "{}", report.stdout);
    for done in [&done, &report] {
        assert!(
            !(done.stdout.clone() + &done.stderr).contains(VALUE),
            "no value is shown: {done:?}"
        );
    }
}

#[test]
fn an_error_of_a_missing_setting_names_the_unknown_one() {
    let world = world();
    let doubt = "; BBTOKEN_SECRET is unknown; did you mean BBTOKEN_CLIENT_SECRET?\n";
    let said = |run: Run, before: &str| run.fails(3).says(&[&format!("{before}{doubt}")]);
    said(
        with_unknown(&world, ["token"]),
        "no OAuth client and no token is configured",
    );
    let list = world
        .git(["ls-remote", "bbtoken::ws/repo"])
        .without_client();
    let list = list.env("BBTOKEN_SECRET", VALUE).done();
    list.says(&["no OAuth client and no token is configured; BBTOKEN_SECRET is unknown"]);
    said(
        with_unknown(&world, ["token"]).env("BBTOKEN_CLIENT_ID", "key"),
        "clientSecretCommand",
    );
    set(&world, "bbtoken.clientIdd");
    let done = world.bbtoken(["token"]).without_client().fails(3);
    done.says(&["did you mean bbtoken.clientId?\nhint: run 'git bbtoken login'"]);
    let wrong = world.bbtoken(["status"]).done().expect(0);
    assert!(!wrong.stderr.contains(VALUE), "no value is shown");
}

#[test]
fn an_error_of_a_missing_setting_names_the_mistyped_key() {
    for (keys, before, right) in [
        (
            &["bbtoken.work.clientIdd"][..],
            "or BBTOKEN_CLIENT_ID",
            "bbtoken.work.clientId",
        ),
        (
            &["bbtoken.work.clientId", "bbtoken.work.clientSecretComand"],
            "or bbtoken.work.clientSecretCommand",
            "bbtoken.work.clientSecretCommand",
        ),
        (
            &[
                "bbtoken.me.clientId",
                "bbtoken.work.clientId",
                "bbtoken.profilee",
            ],
            "git bbtoken use <profile>",
            "bbtoken.profile",
        ),
    ] {
        let world = world();
        keys.iter().for_each(|key| set(&world, key));
        let file = world.home().join(".gitconfig");
        let wrong = keys.last().expect("a key is wrong").to_ascii_lowercase();
        let doubt = format!(
            "{before}; {wrong} in {} is unknown; did you mean {right}?\n",
            file.display()
        );
        let done = world.bbtoken(["token"]).without_client().fails(3);
        done.says(&[&doubt]);
        assert!(!done.stderr.contains(VALUE), "no value is shown: {done:?}");
    }
}
