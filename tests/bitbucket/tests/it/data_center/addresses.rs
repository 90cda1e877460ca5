//! The context path, and the base URL that the server believes it has.

use bitbucket_local::{Kind, Options};

use super::{REFS, TOKEN, change, data_center};
use crate::client::Client;
use crate::support::bitbucket_with;

#[test]
fn outside_the_context_path_there_is_a_page_that_says_so() {
    let bitbucket = data_center();
    assert!(
        bitbucket.base_url().ends_with("/bitbucket"),
        "the base URL holds the context path"
    );
    let mut client = Client::http1(&bitbucket);
    for path in [
        "/",
        "/rest/api/latest/application-properties",
        "/scm/ws/repo.git/info/refs?service=git-upload-pack",
        "/bitbucketry/scm/ws/repo.git/info/refs?service=git-upload-pack",
    ] {
        let reply = client.get(path, None);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (404, "text/html; charset=utf-8"),
            "'{path}' is not below it"
        );
    }
    assert_eq!(client.get(REFS, None).status, 401, "git is below it");
    let reply = client.post_form(TOKEN, None, &[]);
    assert_eq!(reply.status, 401, "and so is the token endpoint");
    let kinds: Vec<_> = bitbucket.requests().iter().map(|it| it.kind).collect();
    assert_eq!(
        kinds[kinds.len() - 2..],
        [Kind::Git, Kind::Token],
        "the journal knows the parts of the site"
    );
}

#[test]
fn a_context_path_may_be_empty_but_not_malformed() {
    let bitbucket = bitbucket_with(Options::data_center(""));
    let refs = "/scm/ws/repo.git/info/refs?service=git-upload-pack";
    let reply = Client::http1(&bitbucket).get(refs, None);
    assert_eq!(reply.status, 401, "everything is below the root");
    for wrong in ["bitbucket", "/bitbucket/", "/"] {
        let started = bitbucket_local::Bitbucket::start(Options::data_center(wrong));
        assert!(started.is_err(), "'{wrong}' is refused");
    }
}

#[test]
fn redirects_are_built_on_the_base_url_that_the_server_believes_it_has() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let reply = client.get("/bitbucket/projects/WS/repos/repo", None);
    let own = format!("{}/login?next=", bitbucket.base_url());
    assert!(
        reply.status == 302 && reply.header("location").starts_with(&own),
        "it is where the server is reached: {}",
        reply.header("location")
    );
    change(&bitbucket, |settings| {
        settings.base_url = Some("https://git.example/code".to_owned());
    });
    let reply = client.get("/bitbucket/projects/WS/repos/repo", None);
    assert!(
        reply
            .header("location")
            .starts_with("https://git.example/code/login?next="),
        "or another one: {}",
        reply.header("location")
    );
}
