//! Data Center, which differs from Bitbucket Cloud in all that is tested here.

mod accounts;
mod addresses;
mod authorize;
mod git;
mod identity;
mod lfs;
mod mirror;
mod outages;
mod token_endpoint;
mod tokens;

use bitbucket_local::{Bitbucket, Consent, Consumer, DataCenter, NewToken, Options, TokenKind};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::client::{Client, Reply};
use crate::support::bitbucket_with;

const REFS: &str = "/bitbucket/scm/ws/repo.git/info/refs?service=git-upload-pack";
const REFS_TO_PUSH: &str = "/bitbucket/scm/ws/repo.git/info/refs?service=git-receive-pack";
const TOKEN: &str = "/bitbucket/rest/oauth2/latest/token";
const PROPERTIES: &str = "/bitbucket/rest/api/latest/application-properties";
const CALLBACK: &str = "https://localhost/callback";

/// A Data Center below `/bitbucket` with the empty repository `WS/repo`.
fn data_center() -> Bitbucket {
    bitbucket_with(Options::data_center("/bitbucket"))
}

fn change(bitbucket: &Bitbucket, change: impl FnOnce(&mut DataCenter)) {
    bitbucket.change_settings(|settings| change(&mut settings.data_center));
}

/// The address of the authorize page, for the consumer that is there from the start.
fn authorize(bitbucket: &Bitbucket, more: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &bitbucket.consumer().key)
        .extend_pairs(more);
    format!("/bitbucket/rest/oauth2/latest/authorize?{}", query.finish())
}

/// What a redirect brings.
fn parameter(reply: &Reply, name: &str) -> Option<String> {
    let location = Url::parse(reply.header("location")).expect("because the answer is a redirect");
    location
        .query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// A code for reading and writing, from a user who has granted access before.
fn code(bitbucket: &Bitbucket, client: &mut Client, more: &[(&str, &str)]) -> String {
    bitbucket.set_consent(Consent::Granted);
    let mut asked = vec![
        ("redirect_uri", CALLBACK),
        ("scope", "REPO_READ REPO_WRITE"),
    ];
    asked.extend_from_slice(more);
    let back = client.get(&authorize(bitbucket, &asked), None);
    parameter(&back, "code").expect("because access was granted")
}

/// A token request of the consumer that is there from the start.
fn ask(bitbucket: &Bitbucket, client: &mut Client, form: &[(&str, &str)]) -> Reply {
    let Consumer { key, secret, .. } = bitbucket.consumer();
    let mut whole = vec![("client_id", key.as_str()), ("client_secret", secret)];
    whole.extend_from_slice(form);
    client.post_form(TOKEN, None, &whole)
}

/// The access token and the refresh token of a user.
fn granted(bitbucket: &Bitbucket, client: &mut Client) -> (String, String) {
    let code = code(bitbucket, client, &[]);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
    ];
    let answer = ask(bitbucket, client, &form).json();
    let text = |field: &str| {
        let text = answer[field].as_str();
        text.expect("because the code was good").to_owned()
    };
    (text("access_token"), text("refresh_token"))
}

/// A token with these scopes for this project or repository only.
fn limited(bitbucket: &Bitbucket, kind: TokenKind, scope: &str, reached: &str) -> String {
    bitbucket.issue(NewToken {
        scopes: vec![scope.to_owned()],
        workspaces: Some(vec![reached.to_owned()]),
        ..NewToken::new(kind)
    })
}

/// The status with each of these credentials.
fn statuses(client: &mut Client, path: &str, credentials: &[&str]) -> Vec<u16> {
    credentials
        .iter()
        .map(|sent| client.get(path, Some(sent)).status)
        .collect()
}
