"""The ways to move a disk that are measured against each other. Each is a function of a trip; what it starts, the trip
measures and ends. Servers listen before the clock starts; everything after that counts, down to the last fsync."""

import os
import shlex
import shutil
import subprocess
import time

import measure
import net

STREAMS_OF_PEERS = 4
SETTLE_SECONDS = 2


class Unavailable(Exception):
    """This binary cannot do that (yet)."""


class Trip:
    """One way, once: from a disk to a file that may already hold something."""

    def __init__(self, tools, case, disks, work):
        self.tools, self.case, self.work = tools, case, work
        self.disk, self.base = disks[case.disk], disks["base"]
        self.source, self.target = self.disk["raw"], os.path.join(work, "target.raw")
        self.size = os.stat(self.source).st_size
        self.expected = self.source
        self.processes, self.uncounted = [], set()
        self.log = open(os.path.join(work, "log"), "wb")

    def start(self, end, *command, **options):
        process = measure.Process(end, [str(part) for part in command], self.log, **options)
        self.processes.append(process)
        return process

    def shell(self, end, script):
        return self.start(end, "bash", "-c", f"set -o pipefail; {script}")

    def serve(self, *command, **options):
        """A server at the target, listening before it returns, on the port that stands for PORT in the command."""
        port = measure.free_port()
        server = self.start(net.TARGET, *(str(part).replace("PORT", str(port)) for part in command), **options)
        measure.wait_for_port(net.TARGET, net.TARGET_ADDRESS, port)
        return server, self.through(port)

    def through(self, port):
        """The port to connect to: behind the proxy where the line has a round trip."""
        if self.case.rtt_ms is None:
            return port
        late = measure.free_port()
        listen, to = f"{net.TARGET_ADDRESS}:{late}", f"{net.TARGET_ADDRESS}:{port}"
        # The proxy is the line, and not charged to anybody.
        proxy = self.start(net.TARGET, self.tools["delay"], listen, to, self.case.rtt_ms)
        self.uncounted.add(proxy.popen.pid)
        measure.wait_for_port(net.TARGET, net.TARGET_ADDRESS, late)
        return late

    def empty_target(self):
        """A file of the right size with nothing in it, for servers that make none."""
        with open(self.target, "wb") as target:
            target.truncate(self.size)

    def sshd(self):
        keys = self.tools["keys"]
        options = [
            "AuthorizedKeysFile=" + keys["authorized"], "StrictModes=no", "PermitRootLogin=yes", "UsePAM=no",
            "PidFile=none", "MaxSessions=64", "MaxStartups=64", "ListenAddress=0.0.0.0",
        ]
        flags = [part for option in options for part in ("-o", option)]
        return self.serve("/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", keys["host"], "-p", "PORT", *flags)

    def known_hosts(self, port):
        path = os.path.join(self.work, "known_hosts")
        with open(self.tools["keys"]["host"] + ".pub") as key, open(path, "w") as known:
            known.write(f"[{net.TARGET_ADDRESS}]:{port} {key.read()}")
        return path

    def end(self):
        # What sshd started is counted once sshd has seen it end.
        until = time.monotonic() + SETTLE_SECONDS
        known = {process.popen.pid for process in self.processes}
        while time.monotonic() < until and set(net.alive(net.members(net.SOURCE) + net.members(net.TARGET))) - known:
            time.sleep(0.05)
        for process in reversed(self.processes):
            process.stop()
        self.log.close()

    def cpu(self, end):
        counted = [process for process in self.processes if process.popen.pid not in self.uncounted]
        return sum(process.cpu or 0 for process in counted if process.end == end)


def dd_nc(trip, packer="", unpacker=""):
    target = shlex.quote(trip.target)
    server, port = trip.serve(
        "bash", "-c", f"set -o pipefail; nc -l PORT {unpacker} | dd of={target} bs=1M iflag=fullblock status=none"
    )
    yield
    source = shlex.quote(trip.source)
    yield trip.shell(net.SOURCE, f"dd if={source} bs=1M status=none {packer} | nc -N {net.TARGET_ADDRESS} {port}")
    yield server


def dd_zstd_nc(trip):
    yield from dd_nc(trip, "| zstd -1 -q -c", "| zstd -d -q -c")


def rsync(trip):
    """With the fastest cipher of OpenSSH. What the target may hold is laid out for it first, and counts."""
    _, port = trip.sshd()
    known, key = trip.known_hosts(port), trip.tools["keys"]["client"]
    ssh = f"ssh -p {port} -i {key} -o UserKnownHostsFile={known} -o IdentitiesOnly=yes -c aes128-gcm@openssh.com"
    yield
    if trip.case.base:
        yield trip.start(net.TARGET, "cp", "--sparse=always", trip.base["raw"], trip.target)
    more = ["--no-whole-file"] if trip.case.base or trip.case.before else []
    to = f"root@{net.TARGET_ADDRESS}:{trip.target}"
    yield trip.start(net.SOURCE, "rsync", "-S", "--inplace", "--ignore-times", *more, "-e", ssh, trip.source, to)


def nbd_server(trip):
    trip.empty_target()
    command = ["qemu-nbd", "-f", "raw", "-x", "disk", "--discard=unmap", "--cache=writeback", "--shared=0", "-t"]
    _, port = trip.serve(*command, "-b", "0.0.0.0", "-p", "PORT", trip.target)
    return f"nbd://{net.TARGET_ADDRESS}:{port}/disk"


def nbdcopy(trip):
    to = nbd_server(trip)
    yield
    options = ["--flush", "--destination-is-zero", f"--connections={STREAMS_OF_PEERS}"]
    yield trip.start(net.SOURCE, "nbdcopy", *options, trip.source, to)


def qemu_img(trip):
    to = nbd_server(trip)
    yield
    options = ["-n", "-W", "-m", "16", "--target-is-zero", "-f", "raw", "-O", "raw"]
    yield trip.start(net.SOURCE, "qemu-img", "convert", *options, trip.source, to)


def viaduct_tcp(trip, source=None, *more):
    viaduct = trip.tools["viaduct"]
    keys = trip.tools["keys"]
    trip.expected = trip.disk["live"]
    if trip.case.before:
        earlier(trip)
    have = have_base(trip)
    receive = [viaduct, "receive", "--to", f"file:{trip.target}", "--listen", "0.0.0.0:PORT", "--identity"]
    server, port = trip.serve(*receive, keys["receiver"], "--peer", keys["sender_print"], *have)
    yield
    send = [viaduct, "send", "--from", source or f"file:{trip.source}", "--to", f"tls://{net.TARGET_ADDRESS}:{port}"]
    peer = ["--identity", keys["sender"], "--peer", keys["receiver_print"]]
    yield trip.start(net.SOURCE, *send, *peer, *more)
    yield server


def earlier(trip):
    """Lets our own earlier copy be there, with the journal that a receiver keeps of it."""
    os.remove(trip.target)
    keys, viaduct, port = trip.tools["keys"], trip.tools["viaduct"], measure.free_port()
    receive = ["receive", "--to", f"file:{trip.target}", "--listen", f"{net.TARGET_ADDRESS}:{port}"]
    identity = ["--identity", keys["receiver"], "--peer", keys["sender_print"]]
    receiver = measure.Process(net.TARGET, [viaduct, *receive, *identity], trip.log)
    send = ["send", "--from", f"file:{trip.case.before_disk['raw']}", "--to", f"tls://{net.TARGET_ADDRESS}:{port}"]
    identity = ["--identity", keys["sender"], "--peer", keys["receiver_print"]]
    sender = measure.Process(net.SOURCE, [viaduct, *send, *identity], trip.log)
    if sender.wait() or receiver.wait():
        raise RuntimeError("the earlier copy failed")


def have_base(trip):
    if not trip.case.base:
        return []
    if "--have" not in subprocess.run([trip.tools["viaduct"], "receive", "--help"], capture_output=True, text=True).stdout:
        raise Unavailable("receive --have")
    return ["--have", f"file:{trip.base['raw']}"]


def viaduct_bitmap(trip):
    """From a qcow2 image, as qemu serves it with its dirty bitmap."""
    if "--bitmap" not in subprocess.run([trip.tools["viaduct"], "send", "--help"], capture_output=True, text=True).stdout:
        raise Unavailable("send --bitmap")
    port = measure.free_port()
    trip.start(
        net.SOURCE, "qemu-nbd", "-f", "qcow2", "-r", "-x", "disk", "-B", "changed", "--shared=0", "-t",
        "-b", "127.0.0.1", "-p", port, trip.disk["qcow2"],
    )
    measure.wait_for_port(net.SOURCE, "127.0.0.1", port)
    yield from viaduct_tcp(trip, f"nbd://127.0.0.1:{port}/disk", "--bitmap", "changed")


def viaduct_ssh(trip):
    trip.expected = trip.disk["live"]
    have_base(trip)
    _, port = trip.sshd()
    known = trip.known_hosts(port)
    yield
    to = f"ssh://root@{net.TARGET_ADDRESS}:{port}{trip.target}"
    send = [trip.tools["viaduct"], "send", "--from", f"file:{trip.source}", "--to", to, "--remote-viaduct"]
    peer = [trip.tools["viaduct"], "--identity", trip.tools["keys"]["client"], "--known-hosts", known]
    yield trip.start(net.SOURCE, *send, *peer)


WAYS = {
    "dd-nc": dd_nc,
    "dd-zstd-nc": dd_zstd_nc,
    "rsync": rsync,
    "nbdcopy": nbdcopy,
    "qemu-img": qemu_img,
    "viaduct-tcp": viaduct_tcp,
    "viaduct-ssh": viaduct_ssh,
    "viaduct-bitmap": viaduct_bitmap,
}
OURS = [name for name in WAYS if name.startswith("viaduct")]


def forget(target):
    """Nothing of an earlier trip stays."""
    for path in (target, f"{target}.viaduct"):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)
