//! Who is asking.

use super::{PROPERTIES, change, data_center};
use crate::client::{Client, bearer};

#[test]
fn answers_name_the_user_who_is_known_and_nobody_else() {
    let bitbucket = data_center();
    change(&bitbucket, |settings| {
        settings.user = "ann/b c@example.com".to_owned();
    });
    let token = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let mut client = Client::http1(&bitbucket);
    let cases = [
        (None, 200, ""),
        (Some(token.as_str()), 200, "ann%2Fb%20c%40example.com"),
        (Some("Bearer wrong"), 401, ""),
    ];
    for (sent, status, user) in cases {
        let reply = client.get(PROPERTIES, sent);
        assert_eq!(
            (reply.status, reply.header("x-ausername")),
            (status, user),
            "with {sent:.10?}"
        );
    }
    let properties = client.get(PROPERTIES, None).json();
    assert_eq!(
        (&properties["displayName"], &properties["version"]),
        (&"Bitbucket".into(), &"10.2.1".into()),
        "the product and its version are told"
    );
    let refs = client.get(super::REFS, Some(&token));
    assert_eq!(
        refs.header("x-ausername"),
        "ann%2Fb%20c%40example.com",
        "git is told as well"
    );
}
