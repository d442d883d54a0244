"""Processes in the namespaces, and what they cost: seconds, bytes on the wire, memory, CPU."""

import os
import signal
import subprocess
import threading
import time

import net

PATIENCE = 20
SAMPLE_SECONDS = 0.2


class Process:
    """One that we started, in one of the namespaces."""

    def __init__(self, end, command, log, **options):
        self.end, self.log = end, log
        options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options}
        self.popen = subprocess.Popen(["ip", "netns", "exec", end, *command], **options)
        self.cpu = None

    def wait(self, timeout=None):
        """Its exit status. CPU includes all of its children that it has waited for."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.cpu is None:
            pid, status, usage = os.wait4(self.popen.pid, 0 if until is None else os.WNOHANG)
            if pid:
                self.cpu = usage.ru_utime + usage.ru_stime
                self.popen.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                return None
            else:
                time.sleep(0.01)
        return self.popen.returncode

    def stop(self):
        if self.cpu is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.kill(self.popen.pid, number)
                if self.wait(5) is not None:
                    break


class Memory(threading.Thread):
    """The most that all processes of an end had in memory, added up over those that lived at the same time."""

    def __init__(self, uncounted):
        super().__init__(daemon=True)
        self.uncounted = uncounted
        self.peak = {net.SOURCE: 0, net.TARGET: 0}
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(SAMPLE_SECONDS):
            for end in self.peak:
                self.peak[end] = max(self.peak[end], sum(map(high_water, set(net.members(end)) - self.uncounted)))

    def stop(self):
        self.done.set()
        self.join()


def high_water(pid):
    """The most it ever had, with pages that several processes share counted once: by the share it has in them now."""
    try:
        with open(f"/proc/{pid}/status") as status, open(f"/proc/{pid}/smaps_rollup") as shared:
            lines = [line.split() for line in [*status, *shared]]
    except OSError:
        return 0
    kib = {fields[0]: int(fields[1]) for fields in lines if fields[0] in ("VmHWM:", "VmRSS:", "Pss:")}
    if len(kib) < 3:
        return 0
    return max(kib["VmHWM:"] - kib["VmRSS:"] + kib["Pss:"], 0) * 1024


def wait_for_port(end, address, port):
    """Until something listens; looked up in the namespace's own table, because some servers take one connection only."""
    inode = f":{port:04X}"
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for pid in net.members(end)[:1]:
            for family in ("tcp", "tcp6"):
                with open(f"/proc/{pid}/net/{family}") as table:
                    for line in table:
                        fields = line.split()
                        if fields[1].endswith(inode) and fields[3] == "0A":
                            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} of {end} after {PATIENCE} s")


def cold():
    """What was read or written before must come from the disk again."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("3")


def make_durable(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_port():
    """Ports of the namespaces are all free; those of earlier runs may linger, so each run takes the next."""
    free_port.last = getattr(free_port, "last", 20000) + 1
    return free_port.last


def cpu_count():
    return len(os.sched_getaffinity(0))


def host():
    with open("/proc/cpuinfo") as info:
        models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cores": cpu_count(),
        "cpu": models[0] if models else "unknown",
        "kernel": os.uname().release,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
