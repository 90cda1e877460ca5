//! Failed attempts and the CAPTCHA.

use super::{PROPERTIES, REFS, change, data_center};
use crate::client::{Client, basic, bearer};
use crate::support::Workplace;

const LOCKED: &str = "CAPTCHA required\nYour Bitbucket account has been locked.";

#[test]
fn five_wrong_passwords_lock_the_account_for_the_right_one_too() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let wrong = basic("Local", "wrong");
    for attempt in 1..=5 {
        assert_eq!(client.get(REFS, Some(&wrong)).status, 401, "it is refused");
        assert_eq!(
            bitbucket.failed_attempts("local"),
            attempt,
            "every attempt counts"
        );
    }
    let token = bitbucket.issue_api_token();
    for secret in ["wrong", "local password", &token] {
        let reply = client.get(REFS, Some(&basic("local", secret)));
        assert!(
            reply.status == 200 && reply.text()[4..].starts_with(&format!("ERR {LOCKED}")),
            "the response to git names the lock: {}",
            reply.text()
        );
    }
    assert_eq!(
        bitbucket.failed_attempts("local"),
        5,
        "behind the lock nothing counts"
    );
    let reply = client.get(PROPERTIES, Some(&basic("local", &token)));
    assert_eq!(reply.status, 401, "the response of REST has its own form");
    assert_eq!(
        reply.json()["errors"][0]["exceptionName"],
        "com.atlassian.bitbucket.auth.CaptchaRequiredAuthenticationException",
        "with the name of the exception"
    );
    assert_eq!(
        client.get(REFS, Some(&bearer(&token))).status,
        200,
        "Bearer is not concerned"
    );
    let work = Workplace::sending(&bitbucket, &basic("local", &token));
    let output = work.try_git(&["ls-remote", &work.url]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains(&format!("fatal: remote error: {LOCKED}")),
        "git shows it: {stderr}"
    );
    bitbucket.reset_captcha("local");
    let reply = client.get(REFS, Some(&basic("local", &token)));
    assert!(
        reply.status == 200 && !reply.text().contains("ERR"),
        "the lock is gone"
    );
}

#[test]
fn a_login_in_the_browser_ends_the_lock_and_a_wrong_one_counts() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let mut sign_in = |password: &str| {
        let form = [("j_username", "local"), ("j_password", password)];
        client.post_form("/bitbucket/j_atl_security_check", None, &form);
        bitbucket.failed_attempts("local")
    };
    assert_eq!(sign_in("wrong"), 1, "a wrong password counts");
    assert_eq!(sign_in("local password"), 0, "the right one ends that");
}

#[test]
fn the_number_of_attempts_can_be_changed_or_have_no_end() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let wrong = basic("local", "wrong");
    change(&bitbucket, |settings| settings.captcha_after = None);
    for _ in 0..6 {
        assert_eq!(client.get(REFS, Some(&wrong)).status, 401, "never a lock");
    }
    change(&bitbucket, |settings| settings.captcha_after = Some(7));
    let found = [(); 2].map(|()| client.get(REFS, Some(&wrong)).status);
    assert_eq!(found, [401, 200], "the seventh is the last");
}

#[test]
fn a_wrong_bearer_token_does_not_count_and_neither_does_another_account() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    for _ in 0..6 {
        let status = client.get(REFS, Some("Bearer wrong")).status;
        assert_eq!(status, 401, "it is refused");
        client.get(REFS, Some(&basic("ann", "wrong")));
    }
    assert_eq!(
        (
            bitbucket.failed_attempts("local"),
            bitbucket.failed_attempts("ann")
        ),
        (0, 5),
        "only Basic counts, and for its own account"
    );
}
