"""What is measured, and what is to be reached. Every target is a ratio between ways of one and the same run."""

from dataclasses import dataclass, field

ALL = ["dd-nc", "dd-zstd-nc", "rsync", "nbdcopy", "qemu-img", "viaduct-tcp", "viaduct-ssh"]
GBIT = 1_000_000_000


@dataclass
class Case:
    name: str
    title: str
    rate: str | None = "1gbit"
    # Through the proxy with this round trip; not through it at all if None.
    rtt_ms: int | None = None
    disk: str = "disk"
    # The target has the base image in another file.
    base: bool = False
    # The target holds this disk already.
    before: str | None = None
    ways: list = field(default_factory=lambda: list(ALL))
    # What is left of them where time is short.
    quick: list | None = None
    before_disk: dict | None = None

    def bits_per_second(self):
        return {None: None, "1gbit": GBIT, "100mbit": GBIT // 10}[self.rate]


CASES = [
    Case("first-1g", "first copy, 1 Gbit/s"),
    Case(
        "first-100m", "first copy, 100 Mbit/s", rate="100mbit",
        quick=["dd-zstd-nc", "nbdcopy", "qemu-img", "viaduct-tcp"],
    ),
    Case("first-unshaped", "first copy, unshaped", rate=None, quick=["nbdcopy", "viaduct-tcp"]),
    Case("first-0ms", "first copy, 1 Gbit/s, through the proxy, 0 ms", rtt_ms=0, ways=["nbdcopy", "viaduct-tcp", "viaduct-ssh"]),
    Case("first-20ms", "first copy, 1 Gbit/s, 20 ms RTT", rtt_ms=20, ways=["nbdcopy", "viaduct-tcp", "viaduct-ssh"]),
    Case("base", "target holds the base image, 1 Gbit/s", base=True, ways=["rsync", "nbdcopy", "qemu-img", "viaduct-tcp"]),
    Case("delta", "100 MB changed, 1 Gbit/s", disk="later", before="disk", ways=["rsync", "viaduct-tcp", "viaduct-bitmap"]),
]

PEERS = [way for way in ALL if not way.startswith("viaduct")]


@dataclass
class Target:
    case: str
    text: str
    # A function of lookups: the value, and the bound that it must not be below (or above, where `most`).
    value: object
    bound: object
    most: bool = False
    unit: str = "x"


def faster(case, way, *peers):
    """How many times as fast as the fastest of some."""
    def value(seconds, _wire):
        return min(seconds(case, peer) for peer in peers) / seconds(case, way)
    return value


def bitmap_seconds(seconds, wire):
    """Beyond what its bytes take on the line."""
    return seconds("delta", "viaduct-bitmap") - wire("delta", "viaduct-bitmap") * 8 / GBIT


TARGETS = [
    Target("first-1g", "as fast as the best peer", faster("first-1g", "viaduct-tcp", *PEERS), 2.0),
    Target("first-1g", "as fast as dd | nc", faster("first-1g", "viaduct-tcp", "dd-nc"), 5.0),
    Target("first-100m", "as fast as nbdcopy and qemu-img", faster("first-100m", "viaduct-tcp", "nbdcopy", "qemu-img"), 2.0),
    Target("first-100m", "as fast as dd | zstd | nc", faster("first-100m", "viaduct-tcp", "dd-zstd-nc"), 1.6),
    Target("first-unshaped", "as fast as nbdcopy", faster("first-unshaped", "viaduct-tcp", "nbdcopy"), 1.0),
    Target(
        "first-20ms", "of the speed at 0 ms",
        lambda seconds, _wire: seconds("first-0ms", "viaduct-tcp") / seconds("first-20ms", "viaduct-tcp"), 0.9,
    ),
    Target(
        "base", "of the bytes of a first copy",
        lambda _seconds, wire: wire("base", "viaduct-tcp") / wire("first-1g", "viaduct-tcp"), 0.15, most=True,
    ),
    Target("base", "as fast as the best peer", faster("base", "viaduct-tcp", "rsync", "nbdcopy", "qemu-img"), 4.0),
    Target("delta", "beyond wire time, with a bitmap", bitmap_seconds, 1.5, most=True, unit="s"),
    Target("delta", "as fast as rsync --inplace, without a bitmap", faster("delta", "viaduct-tcp", "rsync"), 3.0),
    Target("first-1g", "over ssh, as fast as nbdcopy", faster("first-1g", "viaduct-ssh", "nbdcopy"), 1.0),
]
