//! Tests choice and resolution together, with settings as users write them.

use super::*;
use crate::{address::Address, failure::Kind, secret::Secret, url::Url};

fn setting(value: &str) -> Option<Setting> {
    Some(Setting {
        value: value.into(),
        origin: "test".into(),
    })
}

/// Makes a profile of these settings.
fn raw_profile(settings: &[(Key, &str)]) -> RawProfile {
    let mut own = RawProfile::default();
    for (key, value) in settings {
        own.set(*key, setting(value));
    }
    own
}

fn client(id: &str, workspaces: &[&str]) -> RawProfile {
    let mut own = raw_profile(&[(Key::ClientId, id), (Key::ClientSecretCommand, "echo s")]);
    own.workspaces = workspaces.iter().filter_map(|name| setting(name)).collect();
    own
}

fn address(profile: Option<&str>, workspace: &str) -> Address {
    Address {
        profile: profile.map(str::to_owned),
        workspace: workspace.into(),
        repository: "repo".into(),
        host: None,
    }
}

fn raw(profiles: &[(&str, RawProfile)]) -> Raw {
    Raw {
        profiles: profiles
            .iter()
            .map(|(name, profile)| ((*name).to_owned(), profile.clone()))
            .collect(),
        ..Raw::default()
    }
}

fn with_token(raw: &Raw) -> Raw {
    let mut raw = raw.clone();
    raw.environment.access_token = Some(Source::Given {
        variable: "BBTOKEN_ACCESS_TOKEN",
        secret: Secret::new("t"),
    });
    raw
}

#[test]
fn a_login_writes_the_site_before_the_client() {
    let own = raw_profile(&[
        (Key::ClientId, "id"),
        (Key::BaseUrl, "https://b"),
        (Key::Kind, "k"),
    ]);
    let keys: Vec<_> = own.settings().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["kind", "baseUrl", "clientId"]);
}

#[test]
fn the_first_match_is_chosen() {
    let two = raw(&[
        ("home", client("h", &["mine"])),
        ("work", client("w", &["ours", "theirs"])),
    ]);
    let mut all = two.clone();
    all.selected = setting("home");
    let mut of_remote = all.clone();
    of_remote.of_remote = setting("work");
    let mut by_variable = all.clone();
    by_variable.environment.profile = Some("work".into());
    let cases = [
        (&two, Some("home"), "ours", "home"),
        (&of_remote, None, "mine", "work"),
        (&by_variable, None, "mine", "work"),
        (&with_token(&all), None, "ours", ENVIRONMENT),
        (&with_token(&all), Some("work"), "ours", "work"),
        (&two, None, "Theirs", "work"),
        (&all, None, "other", "home"),
    ];
    for (raw, profile, workspace, expected) in cases {
        let chosen = choose(raw, Some(&address(profile, workspace))).expect("one answers");
        assert_eq!(chosen.name, expected, "{profile:?} {workspace}");
    }
    assert_eq!(cases.len(), 7);
}

#[test]
fn the_only_profile_needs_no_choice_and_several_do() {
    let one = raw(&[("work", client("w", &[]))]);
    assert_eq!(choose(&one, None).expect("it is the only one").name, "work");
    let two = raw(&[("a", client("a", &[])), ("b", client("b", &[]))]);
    let error = choose(&two, None).expect_err("none is chosen");
    assert!(error.to_string().contains("'a', 'b'"), "{error}");
    assert_eq!(
        choose(&Raw::default(), None)
            .expect_err("nothing is there")
            .kind,
        Kind::NotConfigured
    );
}

#[test]
fn a_secret_without_its_id_is_named_and_no_built_in_client_takes_its_place() {
    for builtin in [false, true] {
        let mut raw = Raw::default();
        raw.environment.client_secret = Some(Source::File("/secret".into()));
        raw.builtin = builtin.then(|| Client {
            id: "k".into(),
            secret: Source::Stored,
        });
        let error = choose(&raw, None).expect_err("half a client is no client");
        assert!(
            error
                .to_string()
                .starts_with("BBTOKEN_CLIENT_SECRET_FILE is set, but BBTOKEN_CLIENT_ID is not; "),
            "{error}"
        );
    }
}

#[test]
fn a_built_in_client_serves_no_site_and_no_secret_of_another_client() {
    let builtin = Client {
        id: "k".into(),
        secret: Source::Stored,
    };
    let mut elsewhere = raw(&[("default", client("w", &[]))]);
    elsewhere.builtin = Some(builtin.clone());
    let own = elsewhere.profiles.get_mut("default").expect("it is there");
    own.set(Key::BaseUrl, setting("https://git.example.com"));
    elsewhere.sites = vec![Url::parse("https://bitbucket.org/").expect("it is a URL")];
    let error = choose(&elsewhere, None).expect_err("the site decides");
    assert!(
        matches!(error.kind, Kind::NoProfileForSite { .. }),
        "{error}"
    );
    let mut half = Raw {
        builtin: Some(builtin),
        ..Raw::default()
    };
    let own = raw_profile(&[(Key::ClientSecretCommand, "cat x")]);
    half.profiles.insert("work".into(), own);
    let error = choose(&half, None).expect_err("the secret is another client's");
    assert!(
        error.to_string().contains("'work' has no client"),
        "{error}"
    );
    half.environment.client_secret = Some(Source::File("/secret".into()));
    let named = choose(&half, Some(&address(Some("default"), "ws")));
    assert!(named.is_err(), "a named profile, too");
}

#[test]
fn an_unknown_profile_lists_the_known_ones() {
    let two = raw(&[("a", client("a", &[])), ("b", client("b", &[]))]);
    let error = choose(&two, Some(&address(Some("c"), "ws"))).expect_err("there is no c");
    assert_eq!(
        error.kind,
        Kind::UnknownProfile {
            name: Some("c".into()),
            known: vec!["a".into(), "b".into()]
        }
    );
}

#[test]
fn two_profiles_for_one_workspace_are_an_error() {
    let two = raw(&[("a", client("a", &["ws"])), ("b", client("b", &["ws"]))]);
    assert!(choose(&two, Some(&address(None, "ws"))).is_err());
}

#[test]
fn a_secret_in_the_environment_belongs_to_the_client_there() {
    let mut raw = raw(&[("work", client("w", &[]))]);
    raw.environment.client_id = Some("other".into());
    raw.environment.client_secret = Some(Source::File("/secret".into()));
    let chosen = choose(&raw, Some(&address(Some("work"), "ws"))).expect("it is there");
    assert!(matches!(
        chosen.client().map(|client| &client.secret),
        Some(Source::Command(_))
    ));
    raw.environment.client_id = None;
    let secret_of = |raw: &Raw| {
        let chosen = choose(raw, Some(&address(Some("work"), "ws"))).expect("it is there");
        chosen.client().map(|client| client.secret.clone())
    };
    assert!(
        matches!(secret_of(&raw), Some(Source::Command(_))),
        "a profile with a secret of its own keeps it"
    );
    let work = raw.profiles.get_mut("work").expect("it is there");
    work.set(Key::ClientSecretCommand, None);
    assert!(
        matches!(secret_of(&raw), Some(Source::File(_))),
        "a secret alone serves a client that has none"
    );
}

#[test]
fn a_named_profile_is_used_as_defined() {
    let command = |command| raw_profile(&[(Key::AccessTokenCommand, command)]);
    let stored = raw_profile(&[(Key::Grant, "token")]);
    let mut defined = raw(&[
        ("bot", stored),
        ("app", client("a", &[])),
        ("script", command("c")),
    ]);
    // Common settings do not replace a profile's own.
    defined.common = client("common", &[]);
    let grant = setting("client-credentials");
    defined.common.set(Key::Grant, grant);
    let mut with_client = defined.clone();
    with_client.environment.client_id = Some("other".into());
    with_client.environment.client_secret = Some(Source::File("/secret".into()));
    let mut tried = 0;
    for raw in [&defined, &with_token(&defined), &with_client] {
        let selections: [&dyn Fn(&str) -> Raw; 4] = [
            &|_| raw.clone(),
            &|name| Raw {
                of_remote: setting(name),
                ..raw.clone()
            },
            &|name| {
                let mut raw = raw.clone();
                raw.environment.profile = Some(name.to_owned());
                raw
            },
            &|name| Raw {
                selected: setting(name),
                ..raw.clone()
            },
        ];
        for (selection, select) in selections.iter().enumerate() {
            for name in ["bot", "app", "script", DEFAULT] {
                let asked = (selection == 0).then_some(name);
                // A client or token in the environment comes before `bbtoken.profile`.
                if selection == 3 && raw.environment.is_complete() {
                    continue;
                }
                let chosen =
                    choose(&select(name), Some(&address(asked, "ws"))).expect("it is there");
                assert_eq!(chosen.name, name);
                let is_own = match (name, &chosen.grant) {
                    ("bot", Grant::Token(source)) => *source == Source::Stored,
                    ("script", Grant::Token(source)) => {
                        *source == Source::Command(setting("c").expect("it is one"))
                    }
                    ("app", Grant::ClientCredentials(client)) => client.id == "a",
                    (DEFAULT, Grant::ClientCredentials(client)) => client.id == "common",
                    _ => false,
                };
                assert!(is_own, "{name}, selection {selection}: {:?}", chosen.grant);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 40);
}

#[test]
fn the_environment_completes_a_profile_that_names_no_source() {
    let mut here = raw_profile(&[]);
    here.workspaces = setting("ws").into_iter().collect();
    let mut raw = with_token(&raw(&[("ci", here)]));
    let chosen = choose(&raw, Some(&address(Some("ci"), "ws"))).expect("it is there");
    assert!(matches!(chosen.grant, Grant::Token(Source::Given { .. })));
    raw.environment.access_token = None;
    raw.environment.client_id = Some("id".into());
    raw.common.set(Key::Grant, setting("authorization-code"));
    let chosen = choose(&raw, Some(&address(Some("ci"), "ws"))).expect("it is there");
    assert!(matches!(chosen.grant, Grant::AuthorizationCode(client) if client.id == "id"));
}

#[test]
fn another_profile_can_push_instead() {
    let mut reader = client("r", &["ws"]);
    reader.set(Key::PushProfile, setting("writer"));
    let raw = raw(&[("reader", reader), ("writer", client("w", &[]))]);
    let chosen = choose(&raw, Some(&address(None, "ws"))).expect("it serves the workspace");
    assert_eq!(chosen.name, "reader");
    let pushing = for_push(&raw, &chosen)
        .expect("it is there")
        .expect("it is named");
    assert_eq!(pushing.name, "writer");
    assert_eq!(
        for_push(&raw, &pushing)
            .expect("it is there")
            .map(|p| p.name),
        None
    );
}

#[test]
fn the_profile_for_pushes_must_use_the_same_site() {
    let mut reader = client("r", &["ws"]);
    reader.set(Key::PushProfile, setting("writer"));
    let mut writer = client("w", &[]);
    writer.set(Key::BaseUrl, setting("https://other.example"));
    let raw = raw(&[("reader", reader), ("writer", writer)]);
    let chosen = choose(&raw, Some(&address(None, "ws"))).expect("it serves the workspace");
    let message = for_push(&raw, &chosen)
        .map(|_| ())
        .expect_err("its token would go to a foreign host");
    assert!(
        message
            .to_string()
            .contains("because their base URLs differ"),
        "{message}"
    );
}

#[test]
fn settings_without_a_profile_can_name_account_and_pusher() {
    let mut raw = raw(&[("writer", client("w", &[]))]);
    raw.common = client("r", &[]);
    raw.common.set(Key::Account, setting("ann"));
    raw.common.set(Key::PushProfile, setting("writer"));
    let chosen = choose(&raw, None).expect("it is the default");
    assert_eq!(
        (chosen.name.as_str(), chosen.account.as_str()),
        (DEFAULT, "ann")
    );
    let pusher = for_push(&raw, &chosen).expect("it is there");
    let pusher = pusher.expect("it is named");
    assert_eq!(
        (pusher.account.as_str(), pusher.push_profile),
        ("writer", None)
    );
}

#[test]
fn a_login_is_kept_by_client_account_and_endpoint_and_not_in_memory() {
    let with = |change: &dyn Fn(&mut RawProfile)| {
        let mut profile = client("x", &[]);
        profile.set(Key::Grant, setting("authorization-code"));
        profile.set(Key::Account, setting("ann"));
        change(&mut profile);
        choose(&raw(&[("a", profile)]), None)
    };
    let one = with(&|_| ()).expect("it is valid").login_key();
    type Change<'c> = &'c dyn Fn(&mut RawProfile);
    let changes: [(Change<'_>, bool); 5] = [
        (&|profile| profile.workspaces = vec![], true),
        (&|profile| profile.set(Key::Account, setting("bob")), false),
        (&|profile| profile.set(Key::ClientId, setting("y")), false),
        (
            &|profile| profile.set(Key::TokenUrl, setting("https://other.example/token")),
            false,
        ),
        (
            &|profile| profile.set(Key::BaseUrl, setting("https://other.example")),
            false,
        ),
    ];
    for (change, is_same) in changes {
        let other = with(change).expect("it is valid").login_key();
        assert_eq!(one == other, is_same);
    }
    let error = with(&|profile| profile.set(Key::Store, setting("memory"))).map(|_| ());
    let error = error.expect_err("it would be lost at once");
    assert!(error.to_string().contains("saves none"), "{error}");
}

#[test]
fn a_client_id_or_secret_is_refused_as_a_token() {
    let mut raw = with_token(&Raw::default());
    raw.environment.client_id = Some("t".into());
    assert!(choose(&raw, None).is_err_and(|error| error.to_string().contains("client's id")));
    raw.environment.client_id = Some("id".into());
    raw.environment.client_secret = raw.environment.access_token.clone();
    assert!(choose(&raw, None).is_err_and(|error| error.to_string().contains("client's secret")));
    raw.environment.client_secret = None;
    assert!(choose(&raw, None).is_ok());
}

#[test]
fn credentials_are_never_sent_over_plain_http() {
    for url in [
        "http://bitbucket.org",
        "ftp://localhost",
        "https://u:p@localhost",
        "https://x/?q",
        "nonsense",
        "",
    ] {
        let mut raw = with_token(&Raw::default());
        raw.environment.settings.set(Key::BaseUrl, setting(url));
        assert!(choose(&raw, None).is_err(), "{url}");
    }
}

#[test]
fn a_mirror_belongs_to_the_base_url_beside_it() {
    let at = |base, mirror| {
        let mut own = raw_profile(&[]);
        own.set(Key::BaseUrl, base);
        own.set(Key::MirrorUrl, mirror);
        own
    };
    let of = |common, own: RawProfile, variable| {
        let mut raw = raw(&[("a", own)]);
        raw.common = common;
        raw.environment.settings.set(Key::BaseUrl, variable);
        let mut raw = with_token(&raw);
        raw.of_remote = setting("a");
        let mut mirrors = places(&raw).expect("they can be used").into_iter();
        let chosen = choose(&raw, None).expect("it can be used").endpoints;
        let place = mirrors.rfind(|place| place.base == chosen.base);
        assert_eq!(place.and_then(|place| place.mirror), chosen.mirror);
        chosen.mirror.map(|url| url.to_string())
    };
    let (base, mirror) = (|| setting("https://b"), || setting("https://m"));
    let none = RawProfile::default;
    let given = Some("https://m/".to_owned());
    assert_eq!(of(at(base(), mirror()), none(), None), given);
    assert_eq!(of(none(), at(base(), mirror()), None), given);
    assert_eq!(of(at(base(), None), at(None, mirror()), None), given);
    // The token of another site.
    let elsewhere = || setting("https://c");
    assert_eq!(of(at(base(), mirror()), at(elsewhere(), None), None), None);
    assert_eq!(of(none(), at(base(), mirror()), elsewhere()), None);
    assert_eq!(of(at(base(), mirror()), none(), elsewhere()), None);
}

#[test]
fn a_password_in_a_base_url_is_not_shown() {
    let mut raw = with_token(&Raw::default());
    let url = setting("https://u:canary@localhost");
    raw.environment.settings.set(Key::BaseUrl, url);
    let error = choose(&raw, None).expect_err("it is refused");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn the_cache_key_depends_on_client_and_endpoint() {
    let one = choose(&raw(&[("a", client("x", &[]))]), None).expect("one");
    let same = choose(&raw(&[("b", client("x", &[]))]), None).expect("one");
    let other = choose(&raw(&[("a", client("y", &[]))]), None).expect("one");
    assert_eq!(
        one.cache_key(),
        same.cache_key(),
        "a profile's name does not matter"
    );
    assert_ne!(one.cache_key(), other.cache_key());
}
