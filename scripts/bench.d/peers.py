"""Who is measured: plain git in its usual forms, the helpers that people use, and bbtoken::."""

import json, os, re, shutil, subprocess, sys, time
from urllib.parse import urlsplit

SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
REFERENCE = "plain git, bundle only"
CA_DIRECTORY = "plain git, CA directory"
OURS = "bbtoken"
WITH_AGENT = OURS + ", agent"
SCRIPT = "shell script"
BEARER = "Authorization: Bearer "

# What is in everybody's git configuration.
COMMON = {
    "user.name": "Ann Example",
    "user.email": "ann@example.org",
    "init.defaultBranch": "main",
    # Nothing may begin in the background of a measured command.
    "gc.auto": "0",
    "maintenance.auto": "false",
    "push.autoSetupRemote": "true",
}


class Contender:
    """Somebody with a home of their own on one server: configuration, environment, addresses."""

    name = None
    configuration = {}
    # Whether a command can begin without a good token and get one.
    gets_tokens = False

    def __init__(self, server, directory, path, git):
        self.server, self.git = server, git
        self.home = os.path.join(directory, f"{server.name}-{re.sub(r'[^a-z]+', '-', self.name)}")
        os.mkdir(self.home)
        self.environment = {
            "PATH": path,
            "HOME": self.home,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSL_CAINFO": self.bundle(),
        }
        self.host = urlsplit(server.base_url).netloc
        self.prepare()
        for key, value in {**COMMON, **self.configuration}.items():
            for one in value if isinstance(value, list) else [value]:
                self.run_git("config", "--global", "--add", key, one)

    def prepare(self):
        """Adds to the environment and the configuration."""

    def bundle(self):
        """The system's CA bundle and the server's authority."""
        path = os.path.join(self.home, "bundle.pem")
        with open(path, "wb") as bundle:
            for source in (SYSTEM_BUNDLE, self.server.ca_file):
                if os.path.exists(source):
                    with open(source, "rb") as file:
                        bundle.write(file.read())
        return path

    def run_git(self, *words, input=None):
        subprocess.run([self.git, *words], env=self.environment, check=True, input=input, text=True, stdout=subprocess.DEVNULL)

    def url(self, repository):
        return f"https://{self.host}/ws/{repository}.git"

    def forget_token(self):
        """Takes the contender back to where it has no access token."""

    def arrive(self):
        """Prepares for another link."""

    def agent(self):
        """Gives the process that it keeps between commands, if it has one."""

    def close(self):
        """Ends what the contender left running."""


class PlainDirectory(Contender):
    """No helper at all, a ready header, and the CA directory that libcurl reads file by file: git's usual form."""

    name = CA_DIRECTORY

    def prepare(self):
        self.configuration = {"http.extraHeader": BEARER + self.server.token}


class PlainBundle(PlainDirectory):
    """The same with a CA bundle alone: the hardest reference."""

    name = REFERENCE

    def prepare(self):
        super().prepare()
        self.environment["GIT_SSL_CAPATH"] = os.path.join(self.home, "no-certificates")
        os.mkdir(self.environment["GIT_SSL_CAPATH"])


class TokenInUrl(Contender):
    name = "token in URL"

    def url(self, repository):
        return f"https://x-token-auth:{self.server.token}@{self.host}/ws/{repository}.git"


class Store(Contender):
    name = "credential.helper=store"
    configuration = {"credential.helper": "store"}

    def prepare(self):
        path = os.path.join(self.home, ".git-credentials")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(f"https://x-token-auth:{self.server.token}@{self.host.replace(':', '%3a')}\n")


class GitCredentialOauth(Contender):
    """With the cache that its own documentation puts before it."""

    name = "git-credential-oauth, warm"

    def prepare(self):
        if not shutil.which("git-credential-oauth"):
            raise FileNotFoundError("not installed (Debian: git-credential-oauth)")
        self.configuration = {
            "credential.helper": ["cache --timeout 7200", "oauth"],
            f"credential.{self.server.base_url}.oauthClientId": self.server.client_id,
            f"credential.{self.server.base_url}.username": "x-token-auth",
        }

    def __init__(self, *words):
        super().__init__(*words)
        credential = {"protocol": "https", "host": self.host, "username": "x-token-auth", "password": self.server.token}
        self.run_git("credential-cache", "store", input="".join(f"{key}={value}\n" for key, value in credential.items()))

    def close(self):
        self.run_git("credential-cache", "exit")


class Script(Contender):
    """The remote helper that a user writes in an afternoon: curl and jq for a token, the token in the URL."""

    name = SCRIPT
    configuration = {"protocol.script.allow": "always"}
    gets_tokens = True
    text = """#!/bin/sh
        token=$(curl -sS --cacert "$GIT_SSL_CAINFO" -u "$CLIENT" -d grant_type=client_credentials \\
            "https://$HOST/site/oauth2/access_token" | jq -r .access_token)
        exec git remote-https "$1" "https://x-token-auth:$token@$HOST/$2.git"
    """

    def prepare(self):
        missing = [name for name in ("curl", "jq") if not shutil.which(name)]
        if missing:
            raise FileNotFoundError(f"{', '.join(missing)} not installed")
        programs = os.path.join(self.home, "bin")
        os.mkdir(programs)
        executable(os.path.join(programs, "git-remote-script"), self.text)
        self.environment |= {
            "PATH": programs + os.pathsep + self.environment["PATH"],
            "CLIENT": f"{self.server.client_id}:{self.server.client_secret}",
            "HOST": self.host,
        }

    def url(self, repository):
        return f"script::ws/{repository}"


class Codecommit(Contender):
    """git-remote-codecommit as it is on PyPI. It signs as ever; the address it then hands to git is the server's."""

    name = "git-remote-codecommit"
    configuration = {"protocol.codecommit.allow": "always"}
    python = None
    stub = """#!{python}
import os, git_remote_codecommit
sign = git_remote_codecommit.git_url
def address(repository, *words):
    sign(repository, *words)
    return os.environ["ENDPOINT"] + repository + ".git"
git_remote_codecommit.git_url = address
git_remote_codecommit.main()
"""

    @classmethod
    def install(cls, directory):
        """Installs it, once, into an environment of its own."""
        python = os.path.join(directory, "bin", "python")
        asked = subprocess.run([python, "-c", "import git_remote_codecommit"], capture_output=True) if os.path.exists(python) else None
        if asked is None or asked.returncode:
            subprocess.run([sys.executable, "-m", "venv", "--clear", directory], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "git-remote-codecommit==1.17"], check=True
            )
        cls.python = python

    def prepare(self):
        if not self.python:
            raise FileNotFoundError("not installed from PyPI (left out of --quick; else see above)")
        programs = os.path.join(self.home, "bin")
        os.mkdir(programs)
        executable(os.path.join(programs, "git-remote-codecommit"), self.stub.format(python=self.python))
        self.environment |= {
            "PATH": programs + os.pathsep + self.environment["PATH"],
            "ENDPOINT": f"https://x-token-auth:{self.server.token}@{self.host}/ws/",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
        }

    def url(self, repository):
        return f"codecommit::us-east-1://{repository}"


class Ours(Contender):
    """bbtoken:: with a client in the environment."""

    name = OURS
    configuration = {"protocol.bbtoken.allow": "always"}
    gets_tokens = True

    def prepare(self):
        self.environment |= {
            "BBTOKEN_BASE_URL": self.server.base_url,
            "BBTOKEN_CLIENT_ID": self.server.client_id,
            "BBTOKEN_CLIENT_SECRET": self.server.client_secret,
            "BBTOKEN_HOME": os.path.join(self.home, "bbtoken"),
        }

    def url(self, repository):
        return f"bbtoken::ws/{repository}"

    def forget_token(self):
        shutil.rmtree(self.environment["BBTOKEN_HOME"], ignore_errors=True)


class OursFirstTime(Ours):
    """As it is with a repository that this machine has not asked before, or with a client that remembers nothing."""

    name = OURS + ", not remembered"
    configuration = {**Ours.configuration, "bbtoken.rememberAdvertisement": "false"}


class OursWithAgent(Ours):
    """With the agent, which keeps the connection of the command before."""

    name = WITH_AGENT
    configuration = {**Ours.configuration, "bbtoken.agent": "true"}

    def arrive(self):
        """Ends the agent: it serves no other network namespace than its own."""
        subprocess.run(["git-bbtoken", "agent", "stop"], env=self.environment, stdout=subprocess.DEVNULL)

    close = arrive

    def forget_token(self):
        # The socket is in the same directory: without it, the agent could not be stopped.
        self.arrive()
        super().forget_token()

    def agent(self):
        # The command that starts it does not wait for it.
        for _ in range(50):
            told = subprocess.check_output(["git-bbtoken", "agent", "status", "--json"], env=self.environment)
            if agent := json.loads(told)["agent"]:
                return agent["pid"]
            time.sleep(0.02)


def another_build(name, directory):
    """The same from another directory of binaries, to compare two builds in one run."""

    def prepare(self):
        Ours.prepare(self)
        self.environment["PATH"] = directory + os.pathsep + self.environment["PATH"]

    directory = os.path.abspath(directory)
    return type("AnotherBuild", (Ours,), {"name": f"{OURS} {name}", "prepare": prepare})


ALL = [PlainDirectory, PlainBundle, TokenInUrl, Store, GitCredentialOauth, Script, Codecommit, OursFirstTime, Ours, OursWithAgent]


def executable(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
