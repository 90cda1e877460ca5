//! Converts addresses to `bbtoken::` addresses, and back, and to those of another site.

use super::{Target, context::App, target::rewritten};
use crate::{
    address::Address,
    failure::{Failure, Kind, quote},
    profile::{self, Key, Place},
    site::Product,
    url::Url,
};

/// An address in a setting.
pub(crate) struct Written<'a> {
    pub(crate) url: &'a str,
    /// The remote whose address it is.
    pub(crate) remote: Option<&'a str>,
    /// Whether it is committed: other users may have other profiles.
    pub(crate) is_committed: bool,
}

/// What addresses become.
pub(crate) enum Conversion {
    /// `bbtoken::` addresses.
    Ours,
    /// https addresses.
    Https,
    /// `bbtoken::` addresses of another site.
    Moved(Box<Move>),
}

/// The move of repositories to a site of another kind.
pub(crate) struct Move {
    to: Place,
    /// The new workspace by the old project.
    map: Vec<(String, String)>,
}

impl Move {
    /// Reads the pairs `project=workspace` of a move to a kind of Bitbucket.
    ///
    /// # Errors
    ///
    /// [`Kind::Usage`] for another text, and [`Kind::Misconfigured`] if no profile is for a site of this kind.
    pub(crate) fn read(app: &App, product: Product, pairs: &[String]) -> Result<Self, Failure> {
        let usage = |text: &str| {
            let message = format!("'{}' is not PROJECT=workspace", quote(text));
            Failure::new(Kind::Usage, message)
        };
        let pair = |text: &String| {
            let (project, workspace) = text.split_once('=')?;
            let example = product
                .facts()
                .grammar
                .of_path(&format!("{workspace}/x"))
                .ok()?;
            (example.workspace == workspace).then(|| (project.to_owned(), example.workspace))
        };
        let pair = |text| pair(text).ok_or_else(|| usage(text));
        let map = pairs.iter().map(pair).collect::<Result<_, _>>()?;
        let mut places = app.used_places().iter();
        let Some(to) = places.find(|place| place.product == product).cloned() else {
            let login = product.login();
            let kind = product.name();
            let why = format!("no profile is for kind '{kind}'; log in first: {login}");
            return Err(Failure::new(Kind::Misconfigured, why));
        };
        Ok(Move { to, map })
    }
}

impl App {
    /// Converts an address; `None` for an address that stays because it is of another form or site.
    ///
    /// It also converts an address with a password, which removes the password from the configuration.
    ///
    /// # Errors
    ///
    /// Why an address that should change cannot change.
    pub(crate) fn converted(
        &self,
        written: &Written<'_>,
        to: &Conversion,
    ) -> Result<Option<String>, String> {
        match to {
            Conversion::Ours => Ok(self.to_ours(written)),
            Conversion::Https => self.to_https(written),
            Conversion::Moved(to) => self.moved(written, to),
        }
    }

    fn to_ours(&self, written: &Written<'_>) -> Option<String> {
        let url = written.url;
        if is_ours(url) || is_path(url) {
            return None;
        }
        let (target, address) = self.target(None, &without_password(url)).ok()?;
        let site = target.raw.sites.first()?;
        let mut places = self.used_places().iter();
        let place = places.find(|place| place.base == *site)?;
        let named = self.profile_in(url).map(|name| format!("{name}@{address}"));
        Some(self.leading_to(place, &address, named, written))
    }

    /// A profile in the address becomes the user name of the https address.
    fn to_https(&self, written: &Written<'_>) -> Result<Option<String>, String> {
        if !is_ours(written.url) {
            return Ok(None);
        }
        let found = self.found(written.remote, written.url)?;
        Ok(found.map(|(address, place)| https(place, &address, address.profile.as_deref())))
    }

    fn moved(&self, written: &Written<'_>, to: &Move) -> Result<Option<String>, String> {
        let url = without_password(&rewritten(&self.git, written.url));
        let found = self.found(written.remote, &url)?;
        let found = found.filter(|(_, place)| place.product != to.to.product);
        let Some((mut address, _)) = found else {
            return Ok(None);
        };
        let project = &address.workspace;
        let mut map = to.map.iter();
        let mapped = map.find(|(from, _)| from.eq_ignore_ascii_case(project));
        let missing = || format!("it needs --map {}=<workspace>", quote(project));
        address.workspace = mapped.ok_or_else(missing)?.1.clone();
        // The profile of the remote was for the old site.
        let remote = None;
        let written = Written { remote, ..*written };
        Ok(Some(self.leading_to(&to.to, &address, None, &written)))
    }

    /// Gives a `bbtoken::` address that leads to a site: with the profile that the address names, else the short form,
    /// else the form with the host.
    fn leading_to(
        &self,
        place: &Place,
        address: &Address,
        named: Option<String>,
        written: &Written<'_>,
    ) -> String {
        // A short form depends on the profiles of the user.
        let is_certain = !written.is_committed || self.has_one_site();
        let is_right = |text: &String| {
            let found = self.found(written.remote, text);
            is_certain
                && found.is_ok_and(|it| it.is_some_and(|(_, found)| found.base == place.base))
        };
        let short = [named, Some(address.to_string())].into_iter().flatten();
        let mut short = short.map(|text| format!("bbtoken::{text}"));
        let long = || format!("bbtoken::{}", https(place, address, None));
        short.find(is_right).unwrap_or_else(long)
    }

    /// Finds the repository of an address, and the site that it leads to; `None` for other texts.
    fn found(&self, remote: Option<&str>, url: &str) -> Result<Option<(Address, &Place)>, String> {
        match self.target(remote, url) {
            Ok((target, address)) if !is_path(url) => {
                let place = self.place_of(&target).map_err(|error| error.to_string())?;
                Ok(Some((address, place)))
            }
            _ => Ok(None),
        }
    }

    /// Finds the site of the profile for a target.
    fn place_of(&self, target: &Target) -> Result<&Place, Failure> {
        let base = match (target.profile(), target.raw.sites.first()) {
            (Ok(profile), _) => profile.endpoints.base,
            (Err(_), Some(site)) => site.clone(),
            (Err(error), None) if !self.has_one_site() => return Err(error),
            (Err(_), None) => self.base().clone(),
        };
        let place = self.places.iter().find(|place| place.base == base);
        Ok(place.unwrap_or(&self.places[0]))
    }

    /// Gives the beginning of a `bbtoken::` address, and that of the https addresses that mean the same.
    pub(crate) fn plain_start(&self, address: &str) -> (String, String) {
        let text = address.trim_start_matches("bbtoken::");
        match text.split_once("://") {
            Some((scheme, _)) => (format!("bbtoken::{scheme}://"), format!("{scheme}://")),
            None => ("bbtoken::".to_owned(), self.places[0].git()),
        }
    }

    /// Gives the site of short addresses of a workspace, or of all others; `None` if no profile is chosen for them.
    pub(crate) fn place_for(&self, workspace: Option<&str>) -> Option<&Place> {
        let target = match workspace {
            Some(workspace) => self.target(None, &format!("{workspace}/x")).ok()?.0,
            None => Target::new(self, None, None, Vec::new()),
        };
        self.place_of(&target).ok()
    }

    /// Tells whether every address leads to the same site.
    pub(crate) fn has_one_site(&self) -> bool {
        self.places.iter().all(|place| place.base == *self.base())
    }

    /// Lists the sites that profiles use. If each profile has its own, the common one is not among them.
    pub(crate) fn used_places(&self) -> &[Place] {
        let (names, own) = (profile::names(&self.raw), &self.raw.profiles);
        let has_own = |name| own.get(name).is_some_and(|own| own.has(Key::BaseUrl));
        // A base URL in the environment is that of every profile.
        let is_given = self.raw.environment.settings.has(Key::BaseUrl);
        let is_unused = !is_given && self.places.len() > 1 && names.iter().all(has_own);
        &self.places[usize::from(is_unused)..]
    }

    /// Finds the profile that the user name of an https address names. Bitbucket's pages show addresses with the user's
    /// own name there.
    fn profile_in(&self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let is_web = matches!(url.scheme(), "https" | "http");
        let names = profile::names(&self.raw).into_iter();
        names.filter(|_| is_web).find(|name| name == url.username())
    }
}

fn is_ours(url: &str) -> bool {
    url.starts_with("bbtoken:")
}

/// Tells whether an address is a path, perhaps relative to the repository.
fn is_path(url: &str) -> bool {
    !url.split('/').next().unwrap_or("").contains(':')
}

/// Gives the https address of a repository.
fn https(place: &Place, address: &Address, user: Option<&str>) -> String {
    let url = format!("{}{address}.git", place.git());
    match user {
        Some(user) => url.replacen("://", &format!("://{user}@"), 1),
        None => url,
    }
}

fn without_password(url: &str) -> String {
    let without = || {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@')?;
        user.contains(':')
            .then(|| format!("{scheme}://{host}/{path}"))
    };
    without().unwrap_or_else(|| url.to_owned())
}
