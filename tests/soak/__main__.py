"""The soak: ./scripts/soak.sh. docs/soak.md says what it does."""

import argparse
import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.processes import say
from tests.soak.sample import Sample
from tests.soak.soak import Soak
from tests.soak.subject import Places, Subject
from tests.soak.verdict import HOUR, MIB, Growth, growth, problems


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    lines = ["\t".join(field.name for field in dataclasses.fields(Sample))]
    lines += [
        "\t".join(f"{value:g}" if isinstance(value, float) else str(value) for value in dataclasses.astuple(s)) for s in samples
    ]
    path.write_text("\n".join(lines) + "\n")


def describe(name: str, of: Growth) -> dict:
    def three(value: float) -> float:
        return round(value, 3)

    rounded = {
        key: {bound: three(value) for bound, value in dataclasses.asdict(getattr(of, key)).items()}
        for key in ("used", "heap", "resident", "files", "threads")
    }
    for key, unit in (("used", "MiB"), ("heap", "MiB"), ("resident", "MiB"), ("files", "files"), ("threads", "threads")):
        slope = rounded[key]
        say(f"{name}: {key} grows by {slope['value']} {unit} an hour ({slope['low']} to {slope['high']} with 95 %)")
    return rounded | {"noise_mib": three(of.noise), "samples": of.samples}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/soak.sh",
        description="Lets a server do all that it can, in equal cycles, and measures whether it grows. A second one beside it, "
        "which is made to leak, must be caught. The last line is JSON; the exit status is 1 where one grows or the other is not "
        "caught.",
    )
    parser.add_argument("--minutes", type=float, default=30, help="of load")
    parser.add_argument("--settle", type=float, default=5, help="minutes at the beginning that do not count")
    parser.add_argument("--limit", type=float, default=1, help="MiB an hour by which the server may grow")
    parser.add_argument("--leak", type=float, default=4, help="MiB an hour that the control leaks")
    parser.add_argument("--build", type=Path, default=Path("build/release"), help="folder of longtake-server")
    parser.add_argument("--model", type=Path, default=Path("models/longtake-tiny"))
    parser.add_argument("--out", type=Path, default=Path("out/soak"), help="logs and samples; is emptied first")
    a = parser.parse_args()
    shutil.rmtree(a.out, ignore_errors=True)
    a.out.mkdir(parents=True)
    places, leak = Places(a.build, a.model, a.out), round(a.leak * MIB / HOUR)
    with contextlib.ExitStack() as running:
        soaks = []
        for name, rate in (("sound", 0), ("control", leak)):
            subject = running.enter_context(Subject(name, places, rate))
            soaks.append(Soak(subject, more=lambda _, seconds: seconds < a.minutes * 60))
        for soak in soaks:
            soak.start()
        for soak in soaks:
            soak.join()
    found = [problem for soak in soaks for problem in soak.problems]
    result: dict[str, object] = {}
    grown = []
    for soak in soaks:
        write_samples(a.out / f"{soak.subject.name}.tsv", soak.samples)
        try:
            grown.append(growth(soak.samples, a.settle * 60))
            result[soak.subject.name] = describe(soak.subject.name, grown[-1])
        except ValueError as error:
            found.append(f"{soak.subject.name}: {error}")
    if len(grown) == len(soaks):
        found += problems(*grown, a.limit)
    for problem in found:
        say(problem)
    print(json.dumps(result | {"cycles": [len(soak.samples) for soak in soaks], "problems": len(found)}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
