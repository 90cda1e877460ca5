//! The names of the profiles to which settings give no name.

/// The name of the profile that the environment alone defines.
pub(crate) const ENVIRONMENT: &str = "environment";
/// The name of the profile that settings without a profile name (`bbtoken.<key>`) define.
pub(crate) const DEFAULT: &str = "default";
