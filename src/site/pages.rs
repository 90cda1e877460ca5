//! Recognizes the addresses of Bitbucket Cloud's pages.

/// The path after a repository in the addresses of its pages. After a rule of `insteadOf`, a browser's address has no
/// host. The repository's own name comes first, so it is never read as a page.
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

/// The first parts of the paths of Bitbucket's own pages. No workspace has such a name.
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
/// The part between a workspace and the name of one of its pages.
const WORKSPACE_PAGES: &str = "workspace";
/// The parts after a workspace's `profile` page.
const PROFILE_PAGES: [&str; 4] = ["members", "projects", "repositories", "snippets"];

/// Refuses the pages of Bitbucket itself and of a workspace, which look like `workspace/repository`, and wikis.
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
    // A wiki was a separate repository below the repository of the code. The code's repository must not replace it in a
    // clone or a push.
    if third == "wiki" {
        return Err("it names a wiki, and Bitbucket removed all wikis in August 2026");
    }
    Ok(())
}

/// Cuts off the query and the fragment that a browser's address may have.
pub(super) fn plain(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or("")
}
