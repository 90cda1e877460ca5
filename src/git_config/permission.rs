//! What a repository's own configuration may do with a key.

use super::entry::Entry;

/// How we treat a setting in a repository's own configuration.
#[derive(Clone, Copy, Debug)]
pub enum FromRepository {
    /// It is followed. The text says why that does no harm.
    Followed(&'static str),
    /// Values like this one are followed. For others the command fails; the text is as for [`Self::Refused`].
    FollowedIf(fn(&Entry) -> bool, &'static str),
    /// It is followed for an https server. For others the command fails; the text is as for [`Self::Refused`].
    FollowedOverHttps(&'static str),
    /// The command fails before anything is sent. The text continues "a repository must not …".
    Refused(&'static str),
}

impl FromRepository {
    /// Says it in a few words, for the reference.
    pub fn shown(self) -> String {
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

/// TLS hides requests from a proxy. A repository cannot weaken it: the settings of TLS are the user's own.
pub(super) const PROXY: FromRepository =
    FromRepository::FollowedOverHttps("choose a proxy that can read the token");

/// The user's password for a proxy could go to it in clear text.
pub(super) const PROXY_LOGIN: FromRepository =
    FromRepository::Refused("weaken the login of a proxy");
