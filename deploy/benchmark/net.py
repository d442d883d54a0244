"""The line: two namespaces joined by a veth pair, shaped with tbf at both ends, and what went over it."""

import json
import os
import signal
import subprocess
import time

SOURCE, TARGET = "fc-bench-a", "fc-bench-b"
SOURCE_ADDRESS, TARGET_ADDRESS = "10.214.0.1", "10.214.0.2"
DEVICE = "bench0"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def up():
    down()
    for name in (SOURCE, TARGET):
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", SOURCE, "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", TARGET)
    for name, address in ((SOURCE, SOURCE_ADDRESS), (TARGET, TARGET_ADDRESS)):
        run("ip", "-n", name, "addr", "add", f"{address}/30", "dev", DEVICE)
        run("ip", "-n", name, "link", "set", DEVICE, "up")


def shape(rate):
    """`rate` as tc writes it, or None for as fast as it goes."""
    for name in (SOURCE, TARGET):
        subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", DEVICE, "root"], capture_output=True)
        if rate:
            # The burst must hold a full segmentation-offload frame, or tbf drops it.
            limits = ["burst", "256kb", "latency", "50ms"]
            run("tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "tbf", "rate", rate, *limits)


def wire_bytes():
    """Both directions, as the interface counts them."""
    stats = json.loads(run("ip", "-n", SOURCE, "-s", "-j", "link", "show", DEVICE))[0]["stats64"]
    return stats["tx"]["bytes"] + stats["rx"]["bytes"]


def members(name):
    """The processes in a namespace. Whatever runs in ours was started by us."""
    try:
        inode = os.stat(f"/run/netns/{name}").st_ino
    except FileNotFoundError:
        return []
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino == inode:
                    found.append(int(entry))
            except OSError:
                pass
    return found


def down():
    for signal_number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 2)):
        until = time.monotonic() + patience
        for pid in members(SOURCE) + members(TARGET):
            try:
                os.kill(pid, signal_number)
            except ProcessLookupError:
                pass
        while time.monotonic() < until and alive(members(SOURCE) + members(TARGET)):
            time.sleep(0.05)
    for name in (SOURCE, TARGET):
        if os.path.exists(f"/run/netns/{name}"):
            run("ip", "netns", "del", name)


def alive(pids):
    """Without those that only wait to be reaped."""
    left = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] not in "ZX":
                    left.append(pid)
        except OSError:
            pass
    return left
