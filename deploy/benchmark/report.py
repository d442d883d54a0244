"""What was measured, as a table for people and as JSON for programs; and whether the targets are met."""

import json
import os
import statistics

import cases

MIB = 1 << 20


class Results:
    def __init__(self, rounds, host, disks):
        self.rounds, self.host = rounds, host
        self.disk = {
            "bytes": os.stat(disks["disk"]["raw"]).st_size,
            "allocated_bytes": os.stat(disks["disk"]["raw"]).st_blocks * 512,
            "live_bytes": os.stat(disks["disk"]["live"]).st_blocks * 512,
        }
        self.runs = {}
        self.skipped = []

    def add(self, case, way, measured, number):
        self.runs.setdefault(case.name, {}).setdefault(way, []).append(measured)
        print(f"{case.name:15} {way:15} round {number + 1}: {cell(measured)}", flush=True)

    def skip(self, case, way, missing):
        line = f"{case.name}: {way}: this viaduct has no `{missing}`"
        if line not in self.skipped:
            self.skipped.append(line)
            print(f"SKIPPED {line}", flush=True)

    def median(self, case, way, key):
        return statistics.median(run[key] for run in self.runs[case][way])

    def targets(self):
        for target in cases.TARGETS:
            try:
                value = target.value(
                    lambda case, way: self.median(case, way, "seconds"),
                    lambda case, way: self.median(case, way, "wire_bytes"),
                )
            except KeyError:
                yield target, None, None
                continue
            met = value <= target.bound if target.most else value >= target.bound
            yield target, value, met

    def rows(self, case):
        """Per way: what the table and the chart show."""
        for way, runs in self.runs[case.name].items():
            seconds = [run["seconds"] for run in runs]
            middle = statistics.median(seconds)
            cpu = {end: statistics.median(run["cpu_seconds"][end] for run in runs) for end in ("source", "target")}
            memory = {end: max(run["memory_bytes"][end] for run in runs) for end in ("source", "target")}
            wire = self.median(case.name, way, "wire_bytes")
            rate = case.bits_per_second()
            yield {
                "way": way, "seconds_min": min(seconds), "seconds_median": middle, "wire_bytes": wire,
                "memory_bytes": memory, "cpu_seconds": cpu,
                "line_share": wire * 8 / rate / middle if rate else None,
                "cpu_share": sum(cpu.values()) / middle / self.host["cores"],
            }

    def text(self):
        lines = [
            f"{self.disk['bytes'] // MIB} MiB, {self.disk['allocated_bytes'] // MIB} allocated,"
            f" {self.disk['live_bytes'] // MIB} live; {self.rounds} rounds; {self.host['cores']} cores,"
            f" {self.host['cpu']}, Linux {self.host['kernel']}",
        ]
        for case in cases.CASES:
            if case.name not in self.runs:
                continue
            lines += ["", case.title, HEAD]
            rows = list(self.rows(case))
            ours = next((row["seconds_median"] for row in rows if row["way"] == "viaduct-tcp"), None)
            lines += [line(row, ours) for row in rows]
        lines += ["", "targets"]
        for target, value, met in self.targets():
            if value is None:
                lines.append(f"  {target.case:15} {target.text:45} not measured")
                continue
            bound = f"{'at most' if target.most else 'at least'} {target.bound:g}"
            word = "met" if met else "NOT MET"
            lines.append(f"  {target.case:15} {target.text:45} {value:6.2f}{target.unit} ({bound})  {word}")
        return "\n".join(lines + [f"SKIPPED {skipped}" for skipped in self.skipped])

    def print(self):
        print(f"\n{self.text()}")

    def write(self, out):
        """After each round, so that a run that is ended early leaves what it found."""
        with open(os.path.join(out, "viaduct.txt"), "w") as file:
            file.write(self.text() + "\n")
        document = {
            "host": self.host, "disk": self.disk, "rounds": self.rounds, "skipped": self.skipped,
            "cases": [
                {"case": case.name, "title": case.title, "ways": list(self.rows(case)), "runs": self.runs[case.name]}
                for case in cases.CASES if case.name in self.runs
            ],
            "targets": [
                {"case": target.case, "target": target.text, "bound": target.bound, "at_most": target.most,
                 "unit": target.unit, "value": value, "met": met}
                for target, value, met in self.targets()
            ],
        }
        with open(os.path.join(out, "viaduct.json"), "w") as file:
            json.dump(document, file, indent=1)


HEAD = (
    f"  {'way':15} {'s min':>7} {'s med':>7} {'ours is':>8} {'wire MiB':>9} {'mem MiB a/b':>12}"
    f" {'cpu s a/b':>12} {'line':>5} {'cpu':>5}"
)


def line(row, ours):
    memory, cpu = row["memory_bytes"], row["cpu_seconds"]
    ratio = f"{row['seconds_median'] / ours:7.2f}x" if ours else ""
    share = f"{row['line_share']:5.0%}" if row["line_share"] is not None else ""
    sizes = f"{memory['source'] // MIB}/{memory['target'] // MIB}"
    seconds = f"{cpu['source']:.1f}/{cpu['target']:.1f}"
    return (
        f"  {row['way']:15} {row['seconds_min']:7.1f} {row['seconds_median']:7.1f} {ratio:>8}"
        f" {row['wire_bytes'] / MIB:9.0f} {sizes:>12} {seconds:>12} {share:>5} {row['cpu_share']:5.0%}"
    )


def cell(run):
    memory, cpu = run["memory_bytes"], run["cpu_seconds"]
    return (
        f"{run['seconds']:6.1f} s, {run['wire_bytes'] / MIB:5.0f} MiB on the wire,"
        f" {memory['source'] // MIB}/{memory['target'] // MIB} MiB of memory,"
        f" {cpu['source']:.1f}/{cpu['target']:.1f} s of CPU"
    )


def list_all():
    for case in cases.CASES:
        print(f"{case.name:15} {case.title}: {' '.join(case.ways)}")
    for target in cases.TARGETS:
        bound = f"{'at most' if target.most else 'at least'} {target.bound:g}{target.unit}"
        print(f"target {target.case:15} {bound:15} {target.text}")
