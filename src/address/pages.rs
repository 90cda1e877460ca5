//! The pages of Bitbucket: what stands in an address beside a repository.

/// What follows a repository in the addresses of its pages; a browser's address arrives without its host once
/// `insteadOf` has taken it over. A repository's own name comes first, so that none is taken for a page.
pub(super) const PAGES: [&str; 22] = [
    "addon",
    "admin",
    "annotate",
    "branch",
    "branches",
    "commit",
    "commits",
    "compare",
    "deployments",
    "diff",
    "downloads",
    "fork",
    "forks",
    "get",
    "history-node",
    "issues",
    "jira",
    "pipelines",
    "pull-request",
    "pull-requests",
    "raw",
    "src",
];

/// First parts of Bitbucket's own pages; no workspace has such a name.
const SITE_PAGES: [&str; 18] = [
    "!api",
    "2.0",
    "account",
    "api",
    "blog",
    "dashboard",
    "gateway",
    "goto",
    "invitations",
    "product",
    "repo",
    "search",
    "site",
    "snippets",
    "socialauth",
    "socket",
    "support",
    "xhr",
];
/// What Bitbucket puts between a workspace and the name of one of the workspace's own pages.
const WORKSPACE_PAGES: &str = "workspace";
/// What follows a workspace's own `profile` page.
const PROFILE_PAGES: [&str; 4] = ["members", "projects", "repositories", "snippets"];
/// Refuses the pages of Bitbucket itself and of a workspace, which look like `workspace/repository`.
pub(super) fn not_a_site_page(first: &str, second: &str, third: &str) -> Result<(), &'static str> {
    let is_site = !second.is_empty()
        && SITE_PAGES
            .iter()
            .any(|page| first.eq_ignore_ascii_case(page));
    let is_workspace = second == WORKSPACE_PAGES && !third.is_empty() && !PAGES.contains(&third);
    let is_profile = second == "profile" && PROFILE_PAGES.contains(&third);
    if is_site || is_workspace || is_profile {
        return Err(
            "it is a page of Bitbucket, not a repository; open the repository and copy its address",
        );
    }
    Ok(())
}

/// A wiki was a repository of its own below the code's, which must not be cloned, or pushed to, in its place.
pub(super) const NO_WIKI: &str = "it names a wiki, and Bitbucket removed all wikis in August 2026";

/// Cuts off the query and the fragment that a browser's address may have.
pub(super) fn plain(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or("")
}
