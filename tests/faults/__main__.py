"""The fault suite: ./scripts/faults.sh. docs/faults.md says what it does."""

import argparse
import dataclasses
import json
import random
import resource
import shutil
import sys
import time
from pathlib import Path

from tests.faults.catalogue import FAULTS
from tests.faults.cluster import Cluster, Places, Setup
from tests.faults.history import Outcome, refused_writes
from tests.faults.pool import Undisturbed, requests
from tests.faults.processes import say
from tests.faults.trial import repeat

SHOWN_PROBLEMS = 10  # of a repetition; one cause has many effects


def run(places: Places, names: list[str], repetitions: int, seed: int) -> dict[str, Outcome]:
    """All repetitions of these faults. A fault's outcomes depend on the seed and on time alone, not on the other faults."""
    shutil.rmtree(places.out, ignore_errors=True)
    places.out.mkdir(parents=True)
    began = time.monotonic()
    wanted = requests({length for name in names for length in FAULTS[name].lengths})
    with Cluster(Setup(servers=1, shared=False), places, "undisturbed") as cluster:
        undisturbed = Undisturbed(cluster.client(cluster.servers[0]), wanted)
    say(f"{len(wanted)} videos, undisturbed: {time.monotonic() - began:.0f} s")
    outcomes = {}
    for name in names:
        rng = random.Random(f"{seed} {name}")
        outcome = Outcome()
        with Cluster(FAULTS[name].setup, places, name) as cluster:
            for repetition in range(1, repetitions + 1):
                fault = FAULTS[name]()
                one = repeat(fault, cluster, undisturbed, rng)
                outcome.add(one)
                detail = f" ({fault})" if type(fault).__str__ is not object.__str__ else ""
                say(
                    f"{name}{detail}: repetition {repetition} of {repetitions}, {one.seconds:.1f} s, "
                    f"{one.bytes_equal} of {one.videos} videos equal, {one.resumed} resumed"
                )
                for problem in one.problems[:SHOWN_PROBLEMS]:
                    say(f"  {problem}")
            say(f"{name}: servers found {refused_writes(cluster)} times that a video was another one's")
        outcomes[name] = outcome
    return outcomes


def table(outcomes: dict[str, Outcome]) -> str:
    head = (
        "fault",
        "repetitions",
        "videos",
        "bytes equal",
        "failed",
        "lost",
        "twice",
        "resumed",
        "fenced",
        "refused",
        "deaths",
        "s",
    )
    rows = [head, tuple("-" * 3 for _ in head)]
    for name, o in outcomes.items():
        row = (name, o.repetitions, o.videos, o.bytes_equal, o.failed, o.lost_chunks, o.duplicate_chunks)
        row += (o.resumed, o.fenced_writes, o.refused, o.deaths, round(o.seconds))
        rows.append(tuple(map(str, row)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/faults.sh",
        description="Puts faults into running servers, again and again, and checks what their viewers have got. "
        "The last line is JSON; the exit status is 1 where something was lost, came twice, or differs.",
    )
    parser.add_argument("--build", type=Path, default=Path("build/release"), help="folder of longtake-server")
    parser.add_argument("--model", type=Path, default=Path("models/longtake-tiny"))
    parser.add_argument("--out", type=Path, default=Path("out/faults"), help="logs of the servers; is emptied first")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only this one; may be given several times")
    parser.add_argument("--repetitions", type=int, default=20, help="of each fault")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--lease", type=float, default=2.0, help="seconds of the servers' leases")
    parser.add_argument("--list", action="store_true", help="name the faults, and end")
    a = parser.parse_args()
    if a.list:
        for name, fault in FAULTS.items():
            print(f"{name:20} {fault.what}")
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    outcomes = run(Places(a.build, a.model, a.out, a.lease), a.fault or list(FAULTS), a.repetitions, a.seed)
    total = Outcome()
    for outcome in outcomes.values():
        total.add(outcome)
    print(table(outcomes))
    result = {"faults": len(outcomes)} | dataclasses.asdict(total)
    result |= {"seconds": round(total.seconds), "problems": len(total.problems)}
    print(json.dumps(result))
    sys.exit(0 if not total.problems else 1)


if __name__ == "__main__":
    main()
