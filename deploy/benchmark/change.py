"""Writes to a qcow2 image what makes one raw disk into another, through qemu, so that its dirty bitmap sees it.

change.py OLD NEW QCOW2
"""

import subprocess
import sys

PIECE = 64 << 10


def differences(old, new):
    """Ranges in which the two differ, in pieces of 64 KiB."""
    found = []
    with open(old, "rb") as a, open(new, "rb") as b:
        at = 0
        while True:
            before, after = a.read(PIECE), b.read(PIECE)
            if not after:
                return found
            if before != after:
                if found and found[-1][1] == at:
                    found[-1][1] = at + len(after)
                else:
                    found.append([at, at + len(after)])
            at += len(after)


def main(old, new, image):
    commands = []
    with open(new, "rb") as disk:
        for number, (start, end) in enumerate(differences(old, new)):
            piece = f"{image}.piece{number}"
            with open(piece, "wb") as out:
                disk.seek(start)
                out.write(disk.read(end - start))
            commands.append((f"write -q -s {piece} {start} {end - start}", piece))
    arguments = [part for command, _ in commands for part in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *arguments, image], check=True)
    subprocess.run(["rm", "-f", *(piece for _, piece in commands)], check=True)


main(*sys.argv[1:4])
