//! Permissions for settings in a repository's own configuration.

use super::entry::Entry;

/// The permission for a setting in a repository's own configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FromRepository {
    /// The setting is followed. The text says why that is harmless.
    Followed(&'static str),
    /// Some values are followed. For others, the command fails. The text is as for [`Self::Refused`].
    FollowedIf(fn(&Entry) -> bool, &'static str),
    /// The setting is followed for an https server. Else the command fails. The text is as for [`Self::Refused`].
    FollowedOverHttps(&'static str),
    /// The command fails before anything is sent. The text continues "a repository must not …".
    Refused(&'static str),
}

impl FromRepository {
    /// Describes the permission for the reference.
    pub(crate) fn shown(self) -> String {
        match self {
            FromRepository::Followed(why) => format!("followed: {why}"),
            FromRepository::FollowedIf(_, why) => {
                format!("followed in part: a repository must not {why}")
            }
            FromRepository::FollowedOverHttps(why) => {
                format!("followed over https; over http a repository must not {why}")
            }
            FromRepository::Refused(why) => format!("refused: a repository must not {why}"),
        }
    }
}

/// The permission for proxies. TLS hides requests from a proxy, and a repository cannot change the TLS settings.
pub(super) const PROXY: FromRepository =
    FromRepository::FollowedOverHttps("choose a proxy that can read the token");

/// The permission for proxy logins. A repository could make the user's password go to the proxy in clear text.
pub(super) const PROXY_LOGIN: FromRepository =
    FromRepository::Refused("weaken the login of a proxy");
