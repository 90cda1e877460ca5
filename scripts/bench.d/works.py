"""What is measured: the repositories, and commands that do the same with each contender's addresses."""

import os, random, shutil, subprocess

SUBMODULES = 30
JOBS = 8
PARALLEL = 50
PUSH_BYTES = 10 << 20
# Larger ones are many files of this size: git reads a file as a whole.
PIECE_BYTES = 1 << 20
# 1,000 files of 10 kB; a tiny repository has one file of 1 kB.
MEDIUM_FILES, MEDIUM_FILE_BYTES = 1000, 10_000


class Repositories:
    """Makes the bare repositories that all servers serve."""

    def __init__(self, git, root, scratch, environment):
        self.git, self.root, self.scratch, self.environment = git, root, scratch, environment
        self.random = random.Random(1)

    def bare(self, name):
        return os.path.join(self.root, "ws", name + ".git")

    def run(self, *words, within=None):
        done = subprocess.run([self.git, *words], cwd=within, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def make(self, name, sizes, commits=1):
        """Makes a repository; each commit has files of these sizes."""
        bare, tree = self.bare(name), os.path.join(self.scratch, "tree-" + name)
        os.makedirs(bare, exist_ok=True)
        self.run("init", "-q", "--bare", bare)
        self.run("config", "http.receivepack", "true", within=bare)
        self.run("init", "-q", tree)
        for commit in range(commits):
            for number, size in enumerate(sizes):
                self.write(os.path.join(tree, f"file-{number}"), size)
            self.commit(tree, f"commit {commit}")
        self.publish(tree, bare)

    def make_with_submodules(self, name, modules):
        bare, tree = self.bare(name), os.path.join(self.scratch, "tree-" + name)
        os.makedirs(bare, exist_ok=True)
        self.run("init", "-q", "--bare", bare)
        self.run("init", "-q", tree)
        for module in modules:
            tip = self.run("rev-parse", "main", within=self.bare(module))
            self.run("config", "-f", ".gitmodules", f"submodule.{module}.path", module, within=tree)
            self.run("config", "-f", ".gitmodules", f"submodule.{module}.url", f"../{module}", within=tree)
            self.run("update-index", "--add", "--cacheinfo", f"160000,{tip},{module}", within=tree)
        self.run("add", ".gitmodules", within=tree)
        self.run("commit", "-q", "-m", "modules", within=tree)
        self.publish(tree, bare)

    def make_large(self, repository, megabytes):
        """Writes a commit with so much that nothing makes smaller, as one pack that needs no compression or repacking."""
        stream = ["fast-import", "--quiet", "--done"]
        words = [self.git, "-c", "pack.compression=0", "-c", "core.bigFileThreshold=1", *stream]
        importer = subprocess.Popen(words, cwd=repository, env=self.environment, stdin=subprocess.PIPE)
        with importer.stdin as to:
            to.write(b"commit refs/heads/large\ncommitter Ann Example <ann@example.org> 1700000000 +0000\ndata 5\nlarge\n")
            for number in range(megabytes):
                to.write(b"M 100644 inline file-%d\ndata %d\n" % (number, PIECE_BYTES))
                to.write(os.urandom(PIECE_BYTES) + b"\n")
            to.write(b"done\n")
        if importer.wait():
            raise subprocess.CalledProcessError(importer.returncode, words)

    def write(self, path, size):
        with open(path, "wb") as file:
            while size > 0:
                file.write(self.random.randbytes(min(size, 1 << 20)))
                size -= 1 << 20

    def commit(self, tree, message):
        self.run("add", ".", within=tree)
        self.run("commit", "-q", "-m", message, within=tree)

    def publish(self, tree, bare):
        self.run("push", "-q", bare, "HEAD:refs/heads/main", within=tree)
        # A server keeps what it serves packed.
        self.run("-c", "pack.window=0", "repack", "-adfq", within=bare)
        shutil.rmtree(tree)


class Work:
    """A command, or several at once, and what has to be as it was before each run."""

    name = None
    # The round trip times at which it is measured; None is all that are asked for.
    rtts = None
    servers = ("bitbucket",)
    # More rounds than this tell nothing new.
    rounds = 30
    quick = False
    # Whether most of it is carrying bytes: only plain git and bbtoken:: differ, and the carrying process counts.
    bulk = False
    # Whether it is many commands in one; they take long, and only the delay of a usual link is of interest.
    many = False
    # Only contenders that get tokens by themselves.
    cold = False

    def __init__(self, repositories, scratch, options):
        self.repositories, self.scratch, self.options = repositories, scratch, options
        self.target = os.path.join(scratch, "target")

    def make(self):
        """Makes the repositories."""

    def template(self, contender):
        return os.path.join(contender.home, self.name.replace(" ", "-"))

    def make_template(self, contender):
        """Makes what each run begins with, once."""

    def begin(self, contender):
        """Takes everything back to where a run begins; not timed."""

    def commands(self, contender):
        raise NotImplementedError

    def end(self, contender):
        shutil.rmtree(self.target, ignore_errors=True)

    def copy(self, contender):
        shutil.copytree(self.template(contender), self.target, symlinks=True)


class LsRemote(Work):
    name = "ls-remote"
    servers = ("bitbucket", "nginx")
    quick = True
    rounds = 60

    def make(self):
        self.repositories.make("tiny", [1000])

    def commands(self, contender):
        return [[contender.git, "ls-remote", contender.url("tiny")]]


class NoOpFetch(Work):
    name = "no-op fetch"
    servers = ("bitbucket", "nginx")
    quick = True
    rounds = 60

    def make(self):
        self.repositories.make("still", [1000])

    def make_template(self, contender):
        contender.run_git("clone", "-q", contender.url("still"), self.template(contender))

    def commands(self, contender):
        return [[contender.git, "-C", self.template(contender), "fetch", "-q"]]


class SmallFetch(Work):
    name = "small fetch"

    def make(self):
        self.repositories.make("moving", [1000], commits=2)

    def make_template(self, contender):
        bare = self.repositories.bare("moving")
        ahead = self.repositories.run("rev-parse", "main", within=bare)
        self.repositories.run("update-ref", "refs/heads/main", ahead + "~1", within=bare)
        contender.run_git("clone", "-q", contender.url("moving"), self.template(contender))
        self.repositories.run("update-ref", "refs/heads/main", ahead, within=bare)

    def begin(self, contender):
        self.copy(contender)

    def commands(self, contender):
        return [[contender.git, "-C", self.target, "fetch", "-q"]]


class Clone(Work):
    repository = None
    words = ()

    def commands(self, contender):
        return [[contender.git, "clone", "-q", *self.words, contender.url(self.repository), self.target]]


class TinyClone(Clone):
    name = "tiny clone"
    servers = ("bitbucket", "nginx")
    repository = "fresh"
    quick = True

    def make(self):
        self.repositories.make("fresh", [1000])


class MediumClone(Clone):
    name = "medium clone"
    repository = "medium"
    rounds = 10

    def make(self):
        self.repositories.make("medium", [MEDIUM_FILE_BYTES] * MEDIUM_FILES)


class LargeClone(Clone):
    name = "large clone"
    repository = "large"
    words = ("--bare",)
    rtts = (0,)
    rounds = 7
    bulk = True

    def make(self):
        self.repositories.make("large", [1000])
        bare = self.repositories.bare("large")
        self.repositories.make_large(bare, self.options.large_mb)


class ColdClone(Clone):
    """A clone by somebody who has no token yet."""

    name = "cold token, tiny clone"
    repository = "cold"
    cold = True
    quick = True

    def make(self):
        self.repositories.make("cold", [1000])

    def begin(self, contender):
        contender.forget_token()


class Push(Work):
    """Pushes a new branch from a tree that all share; the branch is taken away again behind the server's back."""

    size = None
    # What is pushed.
    tip = "HEAD"

    @property
    def repository(self):
        return self.name.replace(" ", "-")

    def begin_tree(self):
        self.repositories.make(self.repository, [1000])
        self.tree = os.path.join(self.scratch, self.repository)
        self.repositories.run("clone", "-q", self.repositories.bare(self.repository), self.tree)

    def make(self):
        self.begin_tree()
        for number in range(self.size // PIECE_BYTES or 1):
            self.repositories.write(os.path.join(self.tree, f"pushed-{number}"), min(self.size, PIECE_BYTES))
        self.repositories.commit(self.tree, "what is pushed")
        # Packed, so that what is measured is the way and not the compression.
        self.repositories.run("-c", "pack.window=0", "repack", "-adfq", within=self.tree)

    def begin(self, contender):
        branch = os.path.join(self.repositories.bare(self.repository), "refs", "heads", "pushed")
        if os.path.exists(branch):
            os.remove(branch)

    def commands(self, contender):
        return [[contender.git, "-C", self.tree, "push", "-q", contender.url(self.repository), f"{self.tip}:refs/heads/pushed"]]

    def end(self, contender):
        self.begin(contender)


class SmallPush(Push):
    name = "small push"
    servers = ("bitbucket", "nginx")
    size = 1000
    quick = True


class TenMegabytePush(Push):
    name = "push of 10 MB"
    size = PUSH_BYTES
    rounds = 10


class LargePush(Push):
    name = "large push"
    rtts = (0,)
    rounds = 7
    bulk = True
    tip = "large"

    def make(self):
        self.begin_tree()
        self.repositories.make_large(self.tree, self.options.large_mb)

    def end(self, contender):
        super().end(contender)
        # The disk must not run full: what nothing leads to goes.
        self.repositories.run("repack", "-adq", within=self.repositories.bare(self.repository))


class Submodules(Work):
    name = f"{SUBMODULES} submodules, {JOBS} jobs"
    rtts = (50,)
    rounds = 8
    many = True
    modules = [f"module-{number}" for number in range(SUBMODULES)]

    def make(self):
        for module in self.modules:
            self.repositories.make(module, [1000])
        self.repositories.make_with_submodules("modules", self.modules)

    def make_template(self, contender):
        path = self.template(contender)
        contender.run_git("clone", "-q", contender.url("modules"), path)
        contender.run_git("-C", path, "submodule", "-q", "init")
        # The same for contenders whose addresses git cannot resolve '../' against.
        for module in self.modules:
            contender.run_git("-C", path, "config", f"submodule.{module}.url", contender.url(module))

    def begin(self, contender):
        self.copy(contender)

    def commands(self, contender):
        return [[contender.git, "-C", self.target, "submodule", "-q", "update", "--jobs", str(JOBS)]]


class ParallelFetches(Work):
    name = f"{PARALLEL} fetches at once"
    rtts = (50,)
    rounds = 8
    many = True

    def make(self):
        self.repositories.make("shared", [1000])

    def make_template(self, contender):
        os.mkdir(self.template(contender))
        first = os.path.join(self.template(contender), "0")
        contender.run_git("clone", "-q", contender.url("shared"), first)
        for number in range(1, PARALLEL):
            shutil.copytree(first, os.path.join(self.template(contender), str(number)))

    def commands(self, contender):
        trees = (os.path.join(self.template(contender), str(number)) for number in range(PARALLEL))
        return [[contender.git, "-C", tree, "fetch", "-q"] for tree in trees]


ALL = [
    LsRemote,
    NoOpFetch,
    SmallFetch,
    TinyClone,
    ColdClone,
    SmallPush,
    TenMegabytePush,
    ParallelFetches,
    Submodules,
    LargeClone,
    LargePush,
    MediumClone,
]
