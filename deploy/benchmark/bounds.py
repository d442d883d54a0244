"""What both ends take at most, in memory and in time, whatever the disk: prints the peak of each, fails beyond the bound."""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
BOUND_BYTES = 128 * MIB
# What a disk with holes may take longer than its data alone.
SECONDS_MORE = 10


@dataclass
class Case:
    name: str
    size: int
    data: int
    send: tuple = ()
    # The receiver has another disk: the same, but for every 64th piece.
    have: bool = False
    packs: bool = False
    # Sent once before, so that the receiver knows it.
    again: bool = False


CASES = [
    Case("1g", GIB, GIB),
    Case("2t-with-1g", 2 * TIB, GIB),
    Case("5g", 5 * GIB, 5 * GIB),
    Case("5g-16-streams", 5 * GIB, 5 * GIB, ("--streams", "16")),
    Case("4g-known", 4 * GIB, 4 * GIB, have=True),
    Case("4g-again", 4 * GIB, 4 * GIB, again=True),
    Case("packed-slow-line", GIB // 4, GIB // 4, ("--rate", "6M"), packs=True),
    Case("packed-16-streams", GIB, GIB, ("--streams", "16"), packs=True),
    Case("large-blocks", 2 * GIB, 2 * GIB, ("--block-size", "8M", "--streams", "16")),
    Case("large-packed", GIB, GIB, ("--block-size", "8M", "--streams", "16"), packs=True),
]


def write_disk(path, case, seed, every=None):
    """Pieces of 1 MiB, evenly spread. With `every`, only each so many pieces differ from those of seed 0."""
    step = case.size // (case.data // MIB)
    with open(path, "wb") as disk:
        disk.truncate(case.size)
        for number in range(case.data // MIB):
            own = every is None or number % every == 0
            disk.seek(number * step)
            disk.write(piece(random.Random((seed if own else 0) << 40 | number), case.packs))
        disk.flush()
        os.fsync(disk.fileno())


def piece(dice, packs):
    if not packs:
        return dice.randbytes(MIB)
    words = [dice.randbytes(6).hex().encode() for _ in range(4096)]
    return b" ".join(dice.choices(words, k=100_000))[:MIB]


def peak(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return 0


class Trip:
    def __init__(self, viaduct, directory):
        self.viaduct, self.directory = viaduct, directory
        made = [subprocess.run([viaduct, "identity", self.at(name)], check=True, capture_output=True, text=True)
                for name in ("sender", "receiver")]
        self.sender, self.receiver = (print_.stdout.strip() for print_ in made)

    def at(self, name):
        return os.path.join(self.directory, name)

    def run(self, case, more=()):
        """Carries the disk once: seconds, peaks, what the sender said last."""
        report = ["--report", "json"]
        receive = [self.viaduct, "receive", "--listen", "127.0.0.1:0", "--to", self.at("target"), *report, *more,
                   "--identity", self.at("receiver"), "--peer", self.sender]
        receiver = subprocess.Popen(receive, stdout=subprocess.PIPE, text=True)
        address = json.loads(receiver.stdout.readline())["address"]
        send = [self.viaduct, "send", "--from", self.at("source"), "--to", f"tls://{address}", *report, *case.send,
                "--identity", self.at("sender"), "--peer", self.receiver]
        began = time.monotonic()
        with open(self.at("said"), "w+") as said:
            ends = [subprocess.Popen(send, stdout=said), receiver]
            peaks = [0, 0]
            while any(end.poll() is None for end in ends):
                peaks = [max(before, peak(end.pid)) for before, end in zip(peaks, ends)]
                time.sleep(0.01)
            seconds = time.monotonic() - began
            said.seek(0)
            last = json.loads(said.read().splitlines()[-1])
        if any(end.returncode for end in ends):
            sys.exit(f"bounds: {case.name}: {last}")
        return seconds, peaks, last

    def measure(self, case):
        write_disk(self.at("source"), case, 0)
        more = ()
        if case.have:
            write_disk(self.at("other"), case, 1, every=64)
            more = ("--have", self.at("other"))
        if case.again:
            self.run(Case("", 0, 0))
        outcome = self.run(case, more)
        # The ends compare digests; that both are of these disks is for another tool to say.
        digest = lambda name: subprocess.run(
            [self.viaduct, "digest", "--from", self.at(name)], check=True, capture_output=True, text=True).stdout
        if case.size == case.data and "--block-size" not in case.send and digest("source") != digest("target"):
            sys.exit(f"bounds: {case.name}: the target is another disk")
        subprocess.run(["rm", "-rf", *map(self.at, ("source", "target", "target.viaduct", "other"))], check=True)
        return outcome


def main():
    parser = argparse.ArgumentParser(prog="deploy/bench bounds", description=__doc__)
    parser.add_argument("--case", nargs="+", choices=[case.name for case in CASES], help="only these")
    parser.add_argument("--dir", help="where the disks are made [a temporary directory]")
    parser.add_argument("--viaduct", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    taken, beyond = {}, []
    print(f"{'case':20} {'seconds':>8} {'on wire':>10} {'reused':>10} {'sender':>9} {'receiver':>9}")
    for case in CASES:
        if options.case and case.name not in options.case:
            continue
        with tempfile.TemporaryDirectory(dir=options.dir) as directory:
            seconds, peaks, last = Trip(options.viaduct, directory).measure(case)
        taken[case.name] = seconds
        mib = lambda number: f"{number / MIB:.0f} MiB"
        print(f"{case.name:20} {seconds:8.1f} {mib(last['bytes_on_wire']):>10} {mib(last['bytes_reused']):>10} "
              f"{mib(peaks[0]):>9} {mib(peaks[1]):>9}", flush=True)
        beyond += [f"{case.name}: {mib(top)} in memory" for top in peaks if top > BOUND_BYTES]
    if "1g" in taken and "2t-with-1g" in taken:
        more = taken["2t-with-1g"] - taken["1g"]
        print(f"\n2 TiB with 1 GiB of data take {more:.1f} s more than 1 GiB does")
        beyond += [f"{more:.1f} s more for holes"] if more > SECONDS_MORE else []
    sys.exit("bounds: " + "; ".join(beyond) if beyond else 0)


main()
