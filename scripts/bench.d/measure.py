"""Running commands and saying what they cost."""

import os, shutil, statistics, subprocess, tempfile, time
from dataclasses import dataclass, field

import link

# The format of GNU time: CPU seconds of user and system, and kilobytes of the largest process.
TIME_FORMAT = "%U %S %M"


@dataclass
class Run:
    """What a group of commands cost that began at the same time."""

    wall_s: float
    cpu_s: float
    # Of the process that talks to the server, where it was looked at.
    helper_cpu_s: float = None
    helper_memory_mb: float = None


@dataclass
class Counts:
    """What does not depend on the machine's load, from runs that are not timed."""

    memory_mb: float = None
    requests: int = None
    token_calls: int = None
    connections: int = None
    programs: int = None
    wire_bytes: int = None


@dataclass
class Cell:
    """One contender doing one work on one server over one link."""

    work: str
    server: str
    rtt_ms: int
    contender: str
    runs: list = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    round_trips: float = None
    # Of the agent: CPU of each run, and the most memory. The figures of the runs do not contain them.
    agent_cpu_s: float = None
    agent_memory_mb: float = None

    def median(self, figure):
        """The median of a figure of the runs; None where it was not looked at."""
        found = [getattr(run, figure) for run in self.runs]
        return None if None in found else statistics.median(found)

    def ratios(self, other, figure):
        """First quartile, median and third of the ratios to another contender's run in the same round."""
        pairs = zip((getattr(run, figure) for run in self.runs), (getattr(run, figure) for run in other.runs))
        ratios = [own / max(others, 1e-9) for own, others in pairs]
        if len(ratios) < 2:
            return ratios * 3
        return statistics.quantiles(ratios, n=4, method="inclusive")


class Agent:
    """A process that outlives the commands, so that none of them has its cost on its account."""

    def __init__(self, pid):
        self.pid = pid
        self.begun_s = self.cpu_s()

    def cpu_s(self):
        """The CPU time so far, by the clock that clock_getcpuclockid(3) gives: /proc only counts hundredths of a second."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def memory_mb(self):
        """The most memory so far (proc(5), VmHWM)."""
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024

    def tell(self, cell):
        """Adds what it has cost since the first run; nothing if it has ended."""
        try:
            cost = (self.cpu_s() - self.begun_s) / len(cell.runs), self.memory_mb()
        except OSError:
            return
        cell.agent_cpu_s, cell.agent_memory_mb = cost


class Failed(Exception):
    pass


def run(commands, environment, namespace=None):
    """Starts the commands at once, in a namespace, and waits for all of them."""
    quiet = os.open(os.devnull, os.O_RDWR)
    complaints = tempfile.TemporaryFile()
    # The descriptors are given explicitly: what a command prints must cost the same for every contender.
    files = [(os.POSIX_SPAWN_DUP2, quiet, 0), (os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, complaints.fileno(), 2)]
    home = link.this_namespace() if namespace is not None else None
    if namespace is not None:
        link.enter(namespace)
    begin = time.perf_counter()
    started = [os.posix_spawn(words[0], words, environment, file_actions=files) for words in commands]
    ended = [os.wait4(pid, 0) for pid in started]
    wall = time.perf_counter() - begin
    os.close(quiet)
    if home is not None:
        link.enter(home)
        os.close(home)
    if any(status for _, status, _ in ended):
        complaints.seek(0)
        raise Failed(f"{' '.join(commands[0])}: {complaints.read().decode(errors='replace')[-2000:]}")
    return Run(wall, sum(usage.ru_utime + usage.ru_stime for _, _, usage in ended))


class Observer:
    """Counts programs, memory and the cost of the transport process alone, with wrappers that short timed runs do without."""

    def __init__(self, directory, git, helper):
        self.directory = directory
        self.time, self.strace = shutil.which("time"), shutil.which("strace")
        self.report = os.path.join(directory, "helper-cost")
        self.wrappers = os.path.join(directory, "wrappers")
        self.exec_path = os.path.join(directory, "exec-path")
        if self.time:
            self.wrap(git, helper)

    def missing(self):
        return [name for name, found in (("GNU time (memory, the helper's own CPU)", self.time), ("strace (programs)", self.strace)) if not found]

    def wrap(self, git, helper):
        os.mkdir(self.wrappers), os.mkdir(self.exec_path)
        real = subprocess.check_output([git, "--exec-path"], text=True).strip()
        for entry in os.scandir(real):
            if entry.name not in ("git-remote-http", "git-remote-https"):
                os.symlink(entry.path, os.path.join(self.exec_path, entry.name))
        for name in ("git-remote-http", "git-remote-https"):
            self.wrapper(os.path.join(self.exec_path, name), os.path.join(real, name))
        if helper:
            self.wrapper(os.path.join(self.wrappers, "git-remote-bbtoken"), helper)

    def wrapper(self, path, program):
        with open(path, "w") as file:
            file.write(f'#!/bin/sh\nexec {self.time} -q -a -f "{TIME_FORMAT}" -o {self.report} {program} "$@"\n')
        os.chmod(path, 0o755)

    def programs(self, commands, environment, namespace):
        """Counts the programs that were started."""
        logs = [os.path.join(self.directory, f"programs-{number}") for number in range(len(commands))]
        traced = [
            [self.strace, "-f", "-qq", "-e", "trace=execve", "-o", log, *words] for log, words in zip(logs, commands)
        ]
        run(traced, environment, namespace)
        count = 0
        for log in logs:
            with open(log) as file:
                count += sum(line.rstrip().endswith("= 0") for line in file)
            os.remove(log)
        return count

    def memory_mb(self, commands, environment, namespace):
        """The memory of the largest process.

        GNU time stands between: a child of this interpreter would begin with the interpreter's own memory.
        """
        logs = [os.path.join(self.directory, f"memory-{number}") for number in range(len(commands))]
        run([[self.time, "-q", "-f", "%M", "-o", log, *words] for log, words in zip(logs, commands)], environment, namespace)
        sizes = []
        for log in logs:
            with open(log) as file:
                sizes.append(int(file.read()) / 1024)
            os.remove(log)
        return max(sizes)

    def run(self, commands, environment, namespace):
        """Runs commands with an eye on CPU seconds and memory of the process that talks to the server.

        Its children are on its account: git-remote-https starts git send-pack and git pack-objects itself.
        """
        wrapped = {**environment, "GIT_EXEC_PATH": self.exec_path, "PATH": self.wrappers + os.pathsep + environment["PATH"]}
        done = run(commands, wrapped, namespace)
        with open(self.report) as file:
            rows = [[float(word) for word in line.split()] for line in file]
        os.remove(self.report)
        done.helper_cpu_s = sum(row[0] + row[1] for row in rows)
        done.helper_memory_mb = max(row[2] for row in rows) / 1024
        return done
