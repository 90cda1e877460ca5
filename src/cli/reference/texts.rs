//! The texts between the tables, and the topics without a table.

pub(super) const HTTP_INTRODUCTION: &str = "
## Git's http settings

The helper follows git's http settings as git does for https addresses: `http.<key>`, `http.<url>.<key>` (the longest match
wins) and `remote.<name>.proxy`. Git's variables override them. The *native transport* is the helper's own HTTP code. If
it does not support a setting, the helper hands over to git's own transport (*handed to git*), unless `bbtoken.transport`
is `native`. It does the same for every `http` key that is not in this table. Git's own transport gets the same token, but
follows no redirects.

The helper cannot hand over a token request. If a token request fails, the error names each setting that it did not
follow. If only git supports the certificate or TLS of a server or proxy, the helper remembers this for a day. Git's own
transport then serves the repositories, and curl requests the tokens.

The column *in a repository's own configuration* says what happens to a key in `.git/config` or in a file that it includes.
It is about requests to the git server. Token requests and proxy logins follow only your own settings: those of the system,
your own files, `git -c` and the environment.
";

pub(super) const PROFILES: &str = "\
A profile is a named client (Cloud: OAuth consumer) or token. The first of these that applies selects it:

  1. profile@ in the address: bbtoken::work@workspace/repository
  2. remote.<name>.bbtokenProfile
  3. BBTOKEN_PROFILE
  4. a client, a token or a shared record in the environment
  5. the workspace in the address (at a Data Center, the project), if it is the 'workspace' of a profile
  6. bbtoken.profile
  7. the only profile, or the profile named 'default'

For an address with a host, such as https://bitbucket.org/workspace/repository, git uses only profiles whose baseUrl is \
that site. It is an error if 1, 2 or 3 names a profile of another site, or if there is no profile for the site.

All commands use the same profile in the same directory. Without an address, they use the profile of the remote that git \
fetches from: the branch's remote, the only remote, or origin.

A repository's own configuration can select a profile that you have defined, but it cannot define one. If another \
profile names a profile as its pushProfile, git fetches with it only if you typed its name. A name in the address of a \
remote counts as typed, because a clone saves the address there. A name in the address of a submodule or in a setting of \
the repository (also credential.username and url.<base>.insteadOf) does not count. In an unpacked archive, read \
'git remote -v' before you fetch.

A named profile is used as you defined it. A client or token in the environment is used only if the profile has neither. Other variables, such as BBTOKEN_BASE_URL and BBTOKEN_STORE, apply to every profile.

'git bbtoken status --explain <address>' shows the profile and the reason.
";

pub(super) const BITBUCKET: &str = "\
At Bitbucket Cloud, create an OAuth client once, in the workspace that owns it:

  https://bitbucket.org/<workspace>/workspace/settings/api
  (Workspace settings, OAuth consumers, Add consumer)

  Name
      any
  Callback URL
      http://127.0.0.1/callback
  This is a private consumer
      tick it for client credentials (CI, servers)
  Permissions
      Repositories: Read to fetch, Write to push; Account: Read to show the account of a login

Bitbucket then shows a key and a secret: the client's id and secret. Bitbucket's terms and OAuth's: consumer = \
client, key = client id, secret = client secret, permission = scope.

You can also use a token. It is an access token of a repository, project or workspace (its settings, Access tokens), or an \
API token with scopes (https://id.atlassian.com/manage-profile/security/api-tokens).

For a Data Center, run 'git bbtoken login <profile> --data-center <url>' on a terminal. It shows how to create an HTTP \
access token or a client there.
";

pub(super) const JSON: &str = "\
Each of these commands prints one object. New versions may add fields. If a field changes its meaning, 'version' increases.

git bbtoken status --json

  version: 1
  base_url: where Bitbucket is
  profiles[]: in alphabetical order
    name
    problem: why it cannot be used; the fields below are then absent
    kind: cloud or datacenter
    base_url: where the profile's Bitbucket is
    grant: client-credentials, authorization-code, token, or shared if the store decides
    client_id: absent for a token; cut if it looks like a secret
    account: the value of 'account'; without one, the name of the profile
    workspaces[]: the workspaces of the profile
    store: file, keyring, kernel-keyring, memory, vault or command
    settings[]: key, value, origin; the value of a command is only its program
    access_token: absent if none is cached
      fingerprint: first 8 hexadecimal digits of its SHA-256
      scopes[]
      got_at, expires_at: seconds since 1970-01-01T00:00:00Z
      expires_in_s: negative after the token has expired
    login: a login by browser; absent without one
      fingerprint, scopes[]
      refreshed_at: seconds since 1970-01-01T00:00:00Z
      has_ended: whether Bitbucket has refused the login since then
    owner: the account of the login or token; absent if Bitbucket did not name it
      name
      told_at: when Bitbucket named it, in seconds since 1970-01-01T00:00:00Z
    client_secret: fingerprint of the secret in the store; absent without one
    stored_token: fingerprint of the access token or API token in the store; absent without one
    store_problem: why the store could not be read; absent if it could

git bbtoken doctor --json

  version: 1
  findings[]: in the order of the checks
    check: the name of the check
    level: ok, note or problem
    text: what the check found
    fix: the command or the sentence that fixes it; absent if there is nothing to do

git bbtoken token --json

  version: 1
  profile: the profile that the token belongs to
  user: the user name that git needs with the token
  token: the token itself
  expires_at: seconds since 1970-01-01T00:00:00Z; absent for a token that you provided
";

/// How programs are started.
pub(super) const PROGRAMS: &str = "
## Programs that are started

The helper and `git bbtoken` look for programs only in the absolute directories of `PATH`. An empty or relative entry could lead into the work tree. \
Each program gets a `PATH` with these directories only, except the command of `exec`. For the same reason, no program gets a \
relative path in a variable of curl or its libraries, for example `CURL_CA_BUNDLE`, `OPENSSL_CONF` or `SSLKEYLOGFILE`.
";

/// The topic 'lfs'.
pub(super) const LFS: &str = "\
git-lfs does not support remote helpers. If git-lfs is installed, a clone adds the settings below to the new \
repository, unless they are set. 'git bbtoken setup' adds them to the current repository. A fetch or a push adds them if \
the repository uses git-lfs. It uses git-lfs if its git directory has 'lfs', or if a .gitattributes file at the top of \
the work tree names the filter.

  remote.<name>.lfsurl
      the repository's LFS endpoint, over https
  remote.<name>.lfspushurl
      the LFS endpoint for pushes, if pushes have another address or profile
  lfs.<site>/.access
      basic: git-lfs asks for credentials at once, because Bitbucket answers 403 instead of 401
  credential.<endpoint>
      git asks 'git bbtoken credential' for this endpoint; not needed after 'git bbtoken setup'

The user name 'bbtoken' or 'bbtoken+<profile>' marks the addresses that the helper wrote. If the address of the remote \
changes, also by 'git remote set-url', the helper changes them, too. It never changes your own addresses, lfs.url, or a \
remote that pushes to another site. To turn this off, run 'git config --global bbtoken.lfs false'.

Push to a remote by its name, because git-lfs refuses to push to an address. An lfs.url in a repository's .lfsconfig \
overrides these settings. A remote.<name>.lfsurl in .lfsconfig does not: to use it, set bbtoken.lfs to false.
";
