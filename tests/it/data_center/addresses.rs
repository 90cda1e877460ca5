//! The forms of addresses that a Data Center shows.

use super::{configured, data_center, log_in, one};
use crate::support::gits;

#[test]
fn each_form_of_an_address_leads_to_the_repository() {
    for git in gits() {
        let world = data_center(git);
        world.repository("~ann", "own");
        log_in(&world);
        let base = world.bitbucket.base_url();
        let host = base.trim_start_matches("https://");
        let own = world.git(["config", "--global", "bbtoken.dc.sshHost", "ssh.example"]);
        own.ok();
        for address in [
            "PROJ/repo".to_owned(),
            "dc@proj/repo.git".to_owned(),
            format!("{base}/scm/PROJ/repo.git"),
            format!("{base}/scm/proj/repo"),
            format!("{host}/scm/PROJ/repo.git"),
            format!("dc@{host}/scm/PROJ/repo.git"),
            format!("{base}/projects/PROJ/repos/repo/browse/src?at=main#3"),
            format!("{base}/rest/api/latest/projects/PROJ/repos/repo"),
            "ssh://git@localhost:7999/proj/repo.git".to_owned(),
            "ssh://git@ssh.example:7999/proj/repo.git".to_owned(),
            "git@ssh.example:proj/repo.git".to_owned(),
            "~ann/own".to_owned(),
            "dc@~ann/own".to_owned(),
            format!("{base}/users/ann/repos/own/commits"),
            format!("{base}/scm/~ann/own.git"),
            format!("{base}/scm/%7Eann/own.git"),
        ] {
            let list = world.git(["ls-remote", "-q", &format!("bbtoken::{address}"), "main"]);
            let listed = configured(list).ok();
            assert!(listed.ends_with("refs/heads/main\n"), "{address}: {listed}");
        }
        let paths = world.bitbucket.git_requests();
        let is_there = |path: &str| path.contains("/scm/");
        assert!(paths.iter().all(|request| is_there(&request.path)));
    }
}

#[test]
fn an_address_of_an_unknown_host_names_the_login_that_makes_it_known() {
    let world = one();
    let base = world.bitbucket.base_url();
    let list = || {
        let address = format!("bbtoken::{base}/scm/PROJ/repo.git");
        configured(world.git(["ls-remote", "-q", &address, "main"]))
    };
    let failed = list().fails(128);
    failed.says(&[
        "its host is not a configured Bitbucket site\n",
        &format!("run 'git bbtoken login <profile> --data-center {base}'"),
    ]);
    assert!(world.bitbucket.requests().is_empty(), "nothing is guessed");
    log_in(&world);
    list().ok();
}

#[test]
fn a_data_center_without_a_base_url_is_named_and_nothing_is_sent() {
    let world = one();
    for (kind, said) in [
        (
            "datacenter",
            "'datacenter' (BBTOKEN_KIND) needs the address of that Bitbucket; set baseUrl, with the context path, in the same place",
        ),
        (
            "server",
            "'server' (BBTOKEN_KIND) is not one of cloud, datacenter",
        ),
    ] {
        let list = world.git(["ls-remote", "-q", "bbtoken::PROJ/repo"]);
        let list = list.without("BBTOKEN_BASE_URL").env("BBTOKEN_KIND", kind);
        list.fails(128).says(&[said]);
    }
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn a_base_url_in_the_environment_is_read_as_the_kind_of_the_profile_says() {
    let world = one();
    world.repository("~ann", "own");
    log_in(&world);
    let base = world.bitbucket.base_url();
    for address in [
        "dc@PROJ/repo".to_owned(),
        "dc@~ann/own".to_owned(),
        format!("{base}/scm/PROJ/repo.git"),
    ] {
        let list = world.git(["ls-remote", "-q", &format!("bbtoken::{address}"), "main"]);
        configured(list).env("BBTOKEN_BASE_URL", base).ok();
    }
}

#[test]
fn an_address_below_the_context_path_that_is_no_repository_is_refused() {
    let world = one();
    log_in(&world);
    let base = world.bitbucket.base_url();
    world.bitbucket.clear_requests();
    for address in [
        format!("{base}/PROJ/repo"),
        format!("{base}/dashboard"),
        format!("{base}/scm/PROJ"),
        format!("{base}/projects/PROJ"),
        format!("{base}x/scm/PROJ/repo"),
        "dc@PROJ/repo/browse".to_owned(),
        "dc@~/repo".to_owned(),
        "dc@PROJ/..".to_owned(),
        "git@localhost:PROJ/repo.git".to_owned(),
        "ssh://git@localhost:22/PROJ/repo.git".to_owned(),
    ] {
        let list = world.git(["ls-remote", "-q", &format!("bbtoken::{address}")]);
        configured(list)
            .fails(128)
            .says(&["error: cannot use address"]);
    }
    let list = world.git(["ls-remote", "-q", "bbtoken::git@localhost:PROJ/repo.git"]);
    configured(list).fails(128).says(&[
        "Bitbucket's ssh port is 7999; if this one is Bitbucket's too, set bbtoken.<profile>.sshHost to the host",
    ]);
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn a_clone_fetches_pushes_and_finds_its_relative_submodules() {
    for git in gits() {
        let world = data_center(git);
        world.repository("PROJ", "part");
        log_in(&world);
        let git = |arguments: &[&str]| configured(world.git(arguments));
        git(&["clone", "-q", "bbtoken::dc@PROJ/repo", "whole"]).ok();
        let whole = world.path("whole");
        let allow = "protocol.bbtoken.allow=always";
        let add = [
            "-c",
            allow,
            "submodule",
            "--quiet",
            "add",
            "../part.git",
            "part",
        ];
        git(&add).within(&whole).ok();
        git(&["commit", "-q", "-m", "part"]).within(&whole).ok();
        git(&["push", "-q"]).within(&whole).ok();
        let clone = ["-c", allow, "clone", "-q", "--recurse-submodules"];
        git(&clone).args(["bbtoken::dc@PROJ/repo", "again"]).ok();
        assert!(world.path("again/part/file").exists());
    }
}
