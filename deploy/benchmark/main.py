"""Runs each way in each case, one after the other, round by round; ends with a table, JSON, and a chart."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

import cases
import chart
import measure
import net
import report
import ways

# Longer than the slowest way takes on the slowest line.
TRIP_SECONDS = 1800


def arguments():
    parser = argparse.ArgumentParser(prog="deploy/bench viaduct", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often each way runs in each case [3]")
    parser.add_argument("--case", nargs="+", choices=[case.name for case in cases.CASES], help="only these")
    parser.add_argument("--way", nargs="+", choices=list(ways.WAYS), help="only these")
    parser.add_argument("--quick", action="store_true", help="one round, and of slow cases only what a target needs")
    parser.add_argument("--out", help="directory for the results")
    parser.add_argument("--list", action="store_true", help="name cases, ways and targets")
    for hidden in ("--work", "--viaduct", "--delay"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen(options):
    for case in cases.CASES:
        if options.case and case.name not in options.case:
            continue
        names = case.quick if options.quick and case.quick else case.ways
        yield case, [way for way in names if not options.way or way in options.way]


def disks(directory):
    path = lambda name: os.path.join(directory, name)
    found = {name: {"raw": path(f"{name}.raw"), "live": path(f"{name}.live")} for name in ("base", "disk", "later")}
    found["later"]["qcow2"] = path("later.qcow2")
    return found


def make_keys(directory, viaduct):
    """Identities for this run only."""
    os.makedirs(directory, mode=0o700)
    path = lambda name: os.path.join(directory, name)
    keys = {name: path(name) for name in ("host", "client", "sender", "receiver", "authorized")}
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", keys[name]], check=True)
    for name in ("sender", "receiver"):
        made = subprocess.run([viaduct, "identity", keys[name]], check=True, capture_output=True, text=True)
        keys[f"{name}_print"] = made.stdout.strip()
    with open(keys["client"] + ".pub") as public, open(keys["authorized"], "w") as authorized:
        authorized.write(public.read())
    return keys


def lay_out(trip):
    """What the target holds before the clock starts."""
    ways.forget(trip.target)
    if trip.case.before:
        # Peers cannot be given more than a whole earlier copy; ours makes its own, to have its journal.
        subprocess.run(["cp", "--sparse=always", trip.case.before_disk["raw"], trip.target], check=True)


def move(trip, way):
    """One trip: what it took."""
    steps = ways.WAYS[way](trip)
    lay_out(trip)
    net.shape(None)
    next(steps)
    net.shape(trip.case.rate)
    measure.cold()
    memory, wire, began = measure.Memory(trip.uncounted), net.wire_bytes(), time.monotonic()
    memory.start()
    try:
        for process in steps:
            code = process.wait(TRIP_SECONDS)
            if code != 0:
                raise RuntimeError(f"{way} ended with {code}")
        measure.make_durable(trip.target)
        seconds = time.monotonic() - began
    finally:
        memory.stop()
    wire = net.wire_bytes() - wire
    trip.end()
    return {
        "seconds": seconds,
        "wire_bytes": wire,
        "memory_bytes": {"source": memory.peak[net.SOURCE], "target": memory.peak[net.TARGET]},
        "cpu_seconds": {"source": trip.cpu(net.SOURCE), "target": trip.cpu(net.TARGET)},
        "target_allocated_bytes": os.stat(trip.target).st_blocks * 512,
    }


def once(tools, case, way, all_disks, work):
    trip = ways.Trip(tools, case, all_disks, work)
    try:
        measured = move(trip, way)
        same = subprocess.run(["cmp", trip.expected, trip.target], capture_output=True, text=True)
        if same.returncode:
            raise RuntimeError(f"{way} made another disk: {same.stdout or same.stderr}")
        return measured
    except (RuntimeError, subprocess.CalledProcessError) as error:
        trip.end()
        with open(os.path.join(work, "log"), errors="replace") as log:
            sys.exit(f"bench: {case.name}: {error}\n{log.read()[-3000:]}")
    finally:
        trip.end()
        ways.forget(trip.target)


def main():
    options = arguments()
    if options.list:
        report.list_all()
        return
    rounds = options.rounds or (1 if options.quick else 3)
    work = os.path.join(options.work, "run")
    out = options.out or os.path.join(options.work, time.strftime("results-%Y%m%d-%H%M%S"))
    subprocess.run(["rm", "-rf", work], check=True)
    os.makedirs(work)
    os.makedirs(out, exist_ok=True)
    tools = {"viaduct": options.viaduct, "delay": options.delay}
    tools["keys"] = make_keys(os.path.join(work, "keys"), options.viaduct)
    all_disks = disks(os.path.join(options.work, "disks"))
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    results = report.Results(rounds, measure.host(), all_disks)
    # A run that is ended takes down what it made, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: subprocess.run(["rm", "-rf", work]))
        stack.callback(net.down)
        net.up()
        for case, names in chosen(options):
            case.before_disk = all_disks.get(case.before)
            # In turns, so that what changes on the machine meanwhile meets all ways alike.
            for number in range(rounds):
                for way in names:
                    try:
                        results.add(case, way, once(tools, case, way, all_disks, work), number)
                    except ways.Unavailable as missing:
                        results.skip(case, way, missing)
                results.write(out)
    results.print()
    chart.write(results, os.path.join(out, "viaduct.svg"))
    print(f"\nresults: {out}/viaduct.json {out}/viaduct.svg {out}/viaduct.txt")


main()
