"""What a server takes, at one moment."""

import dataclasses
import json
import os
import re
import socket
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Sample:
    """In bytes:

    used:     blocks of the heap that are in use, and anonymous pages of all else: large blocks, stacks, what is mapped otherwise
    heap:     what malloc has given and not got back, large blocks included
    resident: anonymous pages of the whole process, those of the heap that are only partly in use among them
    """

    seconds: float
    used: int
    heap: int
    resident: int
    files: int
    threads: int


def take(pid: int, probe: Path, seconds: float) -> Sample:
    """Of the server whose probe (probe.cc) listens there. The probe trims the heap first."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(probe))
        said = json.loads(connection.makefile().readline())
    # By the pages themselves: the counters in /proc/PID/status may be some dozen pages behind.
    arena, outside = pages(Path(f"/proc/{pid}/smaps").read_text())
    files, threads = len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))
    return Sample(seconds, said["heap"] + outside, said["heap"] + said["mapped"], arena + outside, files, threads)


def pages(smaps: str) -> tuple[int, int]:
    """Bytes of anonymous memory, swapped out or not, in malloc's one arena and in all other mappings."""
    arena = outside = 0
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE)[1:]:
        size = sum(map(int, re.findall(r"^(?:Anonymous|Swap): +(\d+) kB$", mapping, re.MULTILINE))) << 10
        if mapping.partition("\n")[0].endswith("[heap]"):
            arena += size
        else:
            outside += size
    return arena, outside
