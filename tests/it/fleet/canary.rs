//! Searches all that a runner shows and keeps for the secrets of the shared login.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::{
    administrator::{self, log_in},
    bao::Bao,
};
use crate::{
    canary::{Search, TRACES},
    inspect::strace,
    needs::needs,
    support::{Run, World, gits},
};

/// Lets the token end, so that the next job renews it. Gives the refresh token that it will send.
fn end_token(bao: &Bao) -> String {
    bao.change(|record| record["access"]["expires_at_unix_s"] = json!(0));
    let record = bao.content();
    let token = record["refresh_token"].as_str();
    token.expect("there is one").to_owned()
}

fn all_shown(run: Run) -> Run {
    let traces = TRACES.iter().chain(&[("BBTOKEN_TRACE", "1")]);
    traces.fold(run, |run, (name, value)| run.env(name, value))
}

#[test]
fn no_secret_of_a_shared_login_is_seen_on_a_runner() {
    needs!("strace", "programs/openbao");
    let (bao, world) = (Bao::one(), World::new(gits().remove(0)));
    world.repository("ws", "repo");
    log_in(&bao, &world, &bao.root).expect(0);
    let (mut shown, mut refresh) = (Vec::new(), Vec::new());
    let as_job = |run: Run| all_shown(administrator::as_job(&bao, &world, run));
    for cache in ["memory", "file"] {
        refresh.push(end_token(&bao));
        let traced = strace(&world, "execve", ["ls-remote", "bbtoken::ws/repo"], |run| {
            as_job(run).env("BBTOKEN_CACHE", cache)
        });
        let done = traced.done.expect(0);
        shown.extend([traced.calls, done.stdout, done.stderr]);
    }
    for (status, words) in [
        (400, &["doctor"][..]),
        (500, &["token"]),
        (400, &["status", "--verbose"]),
        (400, &["renew"]),
    ] {
        refresh.push(end_token(&bao));
        // An endpoint that repeats what it was sent, as a badly made one might.
        let body = format!(
            r#"{{"error":"x","error_description":"no"}} {}"#,
            end_token(&bao)
        );
        let rule = bitbucket_local::Rule::answer(status).kind(bitbucket_local::Kind::Token);
        world.bitbucket.script(rule.body(body).forever());
        let done = as_job(world.bbtoken(words.iter().copied())).done();
        shown.extend([done.stdout, done.stderr]);
        world.bitbucket.clear_script();
    }
    refresh.dedup();
    assert!(
        refresh.len() >= 3,
        "there was something to leak: {}",
        refresh.len()
    );
    let mut search = Search::new(&world, &[]);
    for token in &refresh {
        search
            .needles
            .push(("the refresh token", token[..100].to_owned()));
    }
    let all = shown.join("\n");
    assert!(
        all.contains("POST /v1/auth/jwt/login HTTP/1.1") && all.contains("execve("),
        "they are seen"
    );
    search.look("arguments, environment or output", all.as_bytes());
    search.look_at_files(&world);
    assert!(
        search.found.is_empty(),
        "a secret leaks: {:?}",
        search.found
    );
    // No file at all, not even with a token, unless the job asks for a cache.
    let kept = crate::inspect::files(&world.path("runner"));
    let is_token = |path: &&PathBuf| {
        let is_advertisement = path
            .parent()
            .is_some_and(|it| it.ends_with("advertisements"));
        path.extension().is_some_and(|it| it == "json") && !is_advertisement
    };
    let kept: Vec<_> = kept.keys().filter(is_token).collect();
    assert!(
        kept.len() == 1,
        "the token of the job with a cache: {kept:?}"
    );
    let token = fs::read_to_string(kept[0]).expect("it is there");
    assert!(
        token.contains("access_token") && !token.contains("refresh"),
        "it is an access token"
    );
    // The search finds a secret wherever it is planted.
    fs::write(world.path("runner/planted"), &refresh[0]).expect("the world can be written");
    search.look_at_files(&world);
    assert_eq!(search.found.len(), 1, "{:?}", search.found);
}
