//! What `doctor`, `status` and `whoami` tell of a Data Center.

use super::{
    answers::{change, is_for_data_center},
    configured, log_in, one,
};
use crate::support::{Done, World};

fn doctor(world: &World) -> Done {
    let done = configured(world.bbtoken(["doctor", "PROJ/repo"])).done();
    is_for_data_center(&done);
    done
}

#[track_caller]
fn finds(world: &World, texts: &[&str]) {
    let done = doctor(world);
    for text in texts {
        assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
    }
}

#[test]
fn doctor_names_the_version_and_the_account() {
    let world = one();
    log_in(&world);
    finds(
        &world,
        &[
            "ok       account: local\n",
            "ok       server: Bitbucket Data Center 10.2.1\n",
            "ok       server: Basic authentication works, which git-lfs and plain https addresses need\n",
            "ok       repository: 'PROJ/repo' can be read\n",
        ],
    );
}

#[test]
fn doctor_finds_what_is_special_to_a_data_center() {
    let world = one();
    log_in(&world);
    change(&world, |it| it.basic_authentication = false);
    finds(
        &world,
        &[
            "note     server: Basic authentication is switched off: git-lfs, plain https addresses and git's own transport do not work\n",
            "-> use bbtoken:: addresses without bbtoken.transport=git; for git-lfs, ask the administrator to allow Basic authentication for '/scm' and '/rest/git-lfs'\n",
        ],
    );
    change(&world, |it| {
        it.basic_authentication = true;
        it.captcha_after = Some(0);
    });
    finds(
        &world,
        &[
            "problem  server: the account is locked for Basic authentication\n",
            "-> Bitbucket has locked the account after failed logins: remove the wrong password from the program that sends it, then log in to Bitbucket in a browser and answer the CAPTCHA",
        ],
    );
    change(&world, |it| {
        it.captcha_after = None;
        it.base_url = Some("https://bitbucket.example/git".to_owned());
    });
    finds(
        &world,
        &[
            "note     server: its base URL is set to 'https://bitbucket.example/git', and git-lfs uses that address\n",
            "-> set bbtoken.<profile>.baseUrl to that address, or ask the administrator to correct the base URL (Administration, Server settings)\n",
        ],
    );
    change(&world, |it| {
        it.base_url = None;
        it.maintenance = true;
    });
    finds(&world, &["problem  server: it answers 503\n"]);
    change(&world, |it| {
        it.maintenance = false;
        it.sso_gateway = Some("https://127.0.0.1:1/login".to_owned());
    });
    finds(
        &world,
        &[
            "problem  server: it redirects its REST API to another page\n",
            "-> a sign-on gateway may be in front of Bitbucket",
        ],
    );
    assert_eq!(world.bitbucket.failed_attempts("local"), 0);
}

#[test]
fn doctor_finds_a_missing_context_path_and_a_token_that_is_no_password() {
    let world = one();
    let base = world.bitbucket.base_url();
    let short = base.strip_suffix("/bitbucket").expect("it is in the path");
    let token = world.bitbucket.issue_resource_token();
    for base in [short, base] {
        let login = ["login", "dc", "--data-center", base, "--with-token"];
        let login = world.bbtoken(login).arg("--no-check").input(&token);
        configured(login).ok();
        match base == short {
            true => finds(
                &world,
                &[
                    "problem  server: it does not tell its version\n",
                    "-> there is no git server at this address: check bbtoken.<profile>.baseUrl",
                ],
            ),
            false => finds(
                &world,
                &[
                    "note     server: Bitbucket does not accept this token as a password: git-lfs, plain https addresses and git's own transport do not work\n",
                    "-> to use these, log in with an HTTP access token of your own account\n",
                ],
            ),
        }
    }
}

#[test]
fn doctor_does_not_send_a_refused_token_again() {
    let world = one();
    log_in(&world);
    world.bitbucket.revoke_access_tokens();
    world.bitbucket.clear_requests();
    finds(
        &world,
        &[
            "problem  account: Bitbucket refuses the token: it is wrong, revoked or expired\n         -> git bbtoken login dc\n",
            "ok       server: Bitbucket Data Center 10.2.1\n",
        ],
    );
    let requests = world.bitbucket.requests().into_iter();
    assert_eq!(requests.filter(|it| it.secret.is_some()).count(), 1);
}

#[test]
fn status_and_whoami_tell_the_site_and_whose_login_it_is() {
    let world = one();
    log_in(&world);
    let base = world.bitbucket.base_url();
    let site = format!("Bitbucket Data Center at {base}");
    let said = |arguments: &[&str]| configured(world.bbtoken(arguments)).ok();
    assert_eq!(said(&["whoami"]), format!("local, profile 'dc', {site}\n"));
    let line = said(&["status"]);
    for text in ["dc  local  all projects  ", &format!("; {site}\n")] {
        assert!(line.contains(text), "{text}: {line}");
    }
    let all = said(&["status", "--verbose"]);
    assert!(all.contains(&format!("  site           {site}\n")), "{all}");
    let json = said(&["status", "--json"]);
    for text in [
        "\"kind\": \"datacenter\"".to_owned(),
        format!("\"base_url\": \"{base}\""),
    ] {
        assert!(json.contains(&text), "{text}: {json}");
    }
}
