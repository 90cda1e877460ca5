//! A refresh ends the older access token, so it must not come while another command may be using that token.

use std::{fs, thread};

use bitbucket_local::{Action, Kind, Rule};

use super::{configured, data_center, logins::log_in_by_browser, one};
use crate::support::{World, gits};

/// Changes the end of the cached token, as seconds from now.
fn ends_in(world: &World, left_s: i64) {
    let mut changed = 0;
    for file in fs::read_dir(world.cache()).expect("there is a cache") {
        let path = file.expect("it stays").path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let Ok(mut entry) = serde_json::from_str::<serde_json::Value>(&text) else {
            continue;
        };
        if entry.get("access_token").is_some() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let now = i64::try_from(now.expect("it is later").as_secs()).expect("it fits");
            entry["expires_at_unix_s"] = (now + left_s).into();
            fs::write(&path, entry.to_string()).expect("it is the user's");
            changed += 1;
        }
    }
    assert_eq!(changed, 1, "one token is cached");
}

fn list(world: &World) {
    let list = world.git(["ls-remote", "-q", "bbtoken::dc@PROJ/repo", "main"]);
    configured(list).ok();
}

/// Runs commands of all kinds.
fn use_token(world: &World) {
    list(world);
    configured(world.bbtoken(["token", "--profile", "dc"])).ok();
    let url = format!("{}/scm/PROJ/repo.git", world.bitbucket.base_url());
    let plain = ["-c", "credential.helper=!git-bbtoken credential"];
    let plain = world.git(plain).args(["ls-remote", "-q", &url]);
    configured(plain).ok();
}

#[test]
fn a_token_is_used_to_its_end_and_then_refreshed_once() {
    for git in gits() {
        let world = data_center(git);
        log_in_by_browser(&world);
        list(&world);
        let refreshes = || {
            world
                .bitbucket
                .refresh_uses()
                .iter()
                .map(|it| it.uses)
                .sum::<u64>()
        };
        let before = refreshes();
        ends_in(&world, 60);
        use_token(&world);
        assert_eq!(refreshes(), before, "no refresh is early");
        ends_in(&world, -1);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| list(&world));
            }
        });
        assert_eq!(refreshes(), before + 1, "two commands need one refresh");
        use_token(&world);
        assert_eq!(refreshes(), before + 1);
    }
}

#[test]
fn a_command_beside_a_slow_fetch_does_not_end_its_token() {
    let world = one();
    log_in_by_browser(&world);
    configured(world.git(["clone", "-q", "bbtoken::dc@PROJ/repo", "slow"])).ok();
    let slow = world.path("slow");
    let bare = world.bitbucket.repository_path("PROJ", "repo");
    let seed = world.path("seed-PROJ-repo");
    world.commit(&seed, "file", "new");
    world.publish(&bare, &seed);
    ends_in(&world, 60);
    let hold = Rule::new(Action::Hold).kind(Kind::Git).method("POST");
    world.bitbucket.script(hold.path("git-upload-pack"));
    world.bitbucket.clear_requests();
    thread::scope(|scope| {
        let fetch = scope.spawn(|| {
            configured(world.git(["fetch", "-q"]).within(&slow)).ok();
        });
        let is_held = |_: &[_]| world.bitbucket.rules_left() == 0;
        world.bitbucket.wait_for(is_held).expect("it comes so far");
        use_token(&world);
        world.bitbucket.release();
        fetch.join().expect("the fetch ends well");
    });
    assert_eq!(world.bitbucket.token_requests().len(), 0);
    let requests = world.bitbucket.git_requests();
    assert!(
        requests
            .iter()
            .all(|it| it.status != Some(401) || it.user.is_none())
    );
}
