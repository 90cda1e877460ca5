"""A link with a set delay between the measured commands and the servers.

The servers run in a network namespace of their own, on its loopback. A client's namespace has no loopback: its way to
127.0.0.1 leads through a link to the servers' namespace, so that names, certificates and addresses are the same with
and without delay. The namespaces have no names and end with the processes in them, however those end.

The delay is netem's where the kernel has it, else a process's that carries packets between two TUN devices.
"""

import collections, ctypes, fcntl, os, select, signal, socket, statistics, struct, subprocess, sys, time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
# Larger than Ethernet's: a carrier in Python has a price for each packet. The same for every contender.
MTU = 9000
QUEUE = 10000
# Packets that a server sends before the first acknowledgment. The servers here send what git prints line by line, each in
# a packet of its own; with the kernel's 10, an advertisement would wait for the way back, which one that is buffered, as
# usual servers do it, does not.
INITIAL_WINDOW = 40

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def unshare_network():
    check(libc.unshare(CLONE_NEWNET))


def enter(namespace):
    """Moves this process to a network namespace; commands started from now on are in it."""
    check(libc.setns(namespace, CLONE_NEWNET))


def die_with_parent():
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def this_namespace():
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def sysctl(name, value):
    with open("/proc/sys/net/" + name, "w") as file:
        file.write(value)


def address(device, own, other):
    sysctl(f"ipv6/conf/{device}/disable_ipv6", "1")
    ip("link", "set", device, "mtu", str(MTU), "txqueuelen", str(QUEUE), "up")
    ip("addr", "add", own, "peer", other, "dev", device)
    # Packets for and from 127.0.0.1 are let through only where this is set.
    sysctl(f"ipv4/conf/{device}/route_localnet", "1")
    for which in ("all", device):
        sysctl(f"ipv4/conf/{which}/rp_filter", "0")


def netem_works():
    """Asks the kernel, on the loopback of the servers' namespace, and takes it back."""
    words = ["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    asked = subprocess.run(["tc", *words], capture_output=True)
    if asked.returncode == 0:
        subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True)
    return asked.returncode == 0


def servers_namespace():
    """Leaves the machine's network for a new one with a loopback."""
    unshare_network()
    ip("link", "set", "lo", "up")
    return this_namespace()


class Link:
    """A client's namespace with this round trip time to the servers' one."""

    def __init__(self, servers, number, rtt_ms, netem):
        self.rtt_ms, self.carrier = rtt_ms, None
        self.near, self.far = f"10.{number}.0.1", f"10.{number}.0.2"
        self.far_device = f"far{number}"
        unshare_network()
        self.namespace = this_namespace()
        tuns = self.join_by_netem(servers) if netem else self.join_by_tun(servers)
        enter(self.namespace)
        address("near", self.near, self.far)
        way = ["via", self.far, "onlink"] if netem else []
        ip("route", "add", "127.0.0.1/32", *way, "dev", "near", "src", self.near)
        enter(servers)
        address(self.far_device, self.far, self.near)
        ip("route", "replace", self.near, "dev", self.far_device, "src", self.far, "initcwnd", str(INITIAL_WINDOW))
        if tuns:
            self.start_carrier(*tuns)

    def join_by_netem(self, servers):
        ip("link", "add", "near", "type", "veth", "peer", "name", self.far_device, "netns", f"/proc/self/fd/{servers}")
        delay = ["root", "netem", "limit", str(QUEUE), "delay", f"{self.rtt_ms / 2}ms"]
        for namespace, device in ((self.namespace, "near"), (servers, self.far_device)):
            enter(namespace)
            subprocess.run(["tc", "qdisc", "add", "dev", device, *delay], check=True)

    def join_by_tun(self, servers):
        near = open_tun("near")
        enter(servers)
        return near, open_tun(self.far_device)

    def start_carrier(self, near, far):
        self.counters, counters = socket.socketpair()
        self.carrier = os.fork()
        if self.carrier == 0:
            # What ends the whole group is the parent's business: this process must never clean up in its place.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                die_with_parent()
                os.setpriority(os.PRIO_PROCESS, 0, -10)
                carry(near, far, self.rtt_ms / 2000, counters)
            finally:
                os._exit(0)
        os.close(near), os.close(far), counters.close()

    def wire_bytes(self):
        """The bytes of IP packets carried so far, both ways together; None if they are not counted."""
        if self.carrier is None:
            return None
        self.counters.send(b"?")
        return struct.unpack("q", self.counters.recv(8))[0]

    def connect_ms(self, port):
        """The time that TCP takes to connect: the median of five."""
        enter(self.namespace)
        taken = []
        for _ in range(5):
            begin = time.perf_counter()
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
            taken.append((time.perf_counter() - begin) * 1000)
        return statistics.median(taken)

    def close(self):
        if self.carrier:
            os.kill(self.carrier, signal.SIGKILL)
            os.waitpid(self.carrier, 0)
            self.carrier = None


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def carry(near, far, delay_s, counters):
    """Hands each packet over when its time has come; answers how many bytes there were whenever it is asked."""
    waiting = {near: collections.deque(), far: collections.deque()}
    other = {near: far, far: near}
    carried = 0
    while True:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        patience = None if due is None else max(0.0, due - time.monotonic())
        for ready in select.select([near, far, counters], [], [], patience)[0]:
            if ready is counters:
                if not counters.recv(1):
                    return
                counters.send(struct.pack("q", carried))
                continue
            at = time.monotonic() + delay_s
            try:
                while True:
                    packet = os.read(ready, MTU)
                    carried += len(packet)
                    waiting[other[ready]].append((at, packet))
            except BlockingIOError:
                pass
        now = time.monotonic()
        for tun, queue in waiting.items():
            while queue and queue[0][0] <= now:
                os.write(tun, queue.popleft()[1])
