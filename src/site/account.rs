//! The account of a token, as a site tells it.

use serde_json::Value;

use crate::failure::quote;

/// Whose token it is.
#[derive(Debug)]
pub(crate) enum Owner {
    /// Bitbucket named the account.
    Account(Account),
    /// Bitbucket's API cannot be used, or did not name the account; with the reason.
    Untold(String),
    /// Bitbucket accepts the token, but it has no scope for accounts; with its scopes, if Bitbucket named them.
    NoScope(Vec<String>),
    /// Bitbucket refuses the token (status 401).
    Refused,
}

impl Owner {
    /// Gives the account, if Bitbucket named it.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Owner::Account(account) => Some(account.shown()),
            Owner::Untold(_) | Owner::NoScope(_) | Owner::Refused => None,
        }
    }

    /// Says why the account is unknown, if Bitbucket did not name it.
    pub(crate) fn untold(&self) -> Option<&str> {
        match self {
            Owner::Untold(why) => Some(why),
            Owner::NoScope(_) => Some("the token lacks the scope to read the account"),
            Owner::Account(_) | Owner::Refused => None,
        }
    }
}

/// An account at Bitbucket.
#[derive(Debug)]
pub(crate) struct Account {
    /// The name that people see.
    pub(crate) display_name: String,
    /// The name in addresses and settings. Bitbucket's pages show another one.
    pub(crate) names: Vec<String>,
}

impl Account {
    /// Shows it in one line.
    pub(crate) fn shown(&self) -> String {
        match self.names.first() {
            Some(name) => format!("{} ({})", quote(&self.display_name), quote(name)),
            None => quote(&self.display_name),
        }
    }

    /// Tells whether a name may mean this account.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let mut names = self.names.iter().chain([&self.display_name]);
        names.any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Reads Bitbucket Cloud's `user` object (Bitbucket: "REST API", users).
    pub(super) fn of(user: &Value) -> Option<Self> {
        let text = |name: &str| user.get(name)?.as_str().map(str::to_owned);
        let names: Vec<_> = ["username", "nickname", "account_id"]
            .into_iter()
            .filter_map(text)
            .collect();
        let display_name = text("display_name").or_else(|| names.first().cloned())?;
        Some(Account {
            display_name,
            names,
        })
    }
}

/// Makes the answer without an account.
pub(crate) fn untold(why: impl Into<String>) -> Owner {
    Owner::Untold(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_by_each_of_its_names() {
        let user = serde_json::json!({ "display_name": "Ann\u{1b} B", "nickname": "annb", "type": "user" });
        let account = Account::of(&user).expect("it has a name");
        assert_eq!(account.shown(), "Ann\\u{1b} B (annb)");
        assert!(account.is_called("ANNB") && !account.is_called("bob"));
        assert!(Account::of(&serde_json::json!({ "type": "error" })).is_none());
    }

    #[test]
    fn any_account_name_is_shown_in_one_line() {
        let kept = [
            r#"{"display_name":"Ann\u001b B","nickname":"annb","type":"user"}"#,
            r#"{"username":"a\nb","account_id":""}"#,
            r#"{"display_name":7,"nickname":[]}"#,
            r#"[{"display_name":"x"}]"#,
        ];
        crate::inside::fuzz::check_text(&kept, |text| {
            let user: Value = serde_json::from_str(text).unwrap_or_default();
            if let Some(account) = Account::of(&user) {
                let shown = account.shown();
                crate::inside::fuzz::expect_printable(&shown);
                assert!(shown.chars().count() < 10 * 2 * 200, "{shown}");
                assert!(account.is_called(&account.display_name));
            }
        });
    }
}
