"""bench/before.py: both builds run the same commands, each in its own tree."""

import json
import sys

from bench import before, cpu


def make_tree(tree, seconds: float, peak: float):
    """A tree whose programs say how long they took, and note what they were asked for."""
    note = 'echo "$(basename "$0") $*" >> commands.txt\n'
    programs = {
        "build/release/longtake-bench": f'echo \'{{"seconds": {seconds}, "memory_vs_plan": {peak}}}\'\n',
        "bench/tiny_end_to_end.sh": f"echo {seconds}\n",
    }
    for name, prints in programs.items():
        program = tree / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{note}{prints}")
        program.chmod(0o755)
    (tree / "engine/models/ltx2").mkdir(parents=True)
    return tree


def test_both_trees_run_the_same(tmp_path, monkeypatch, capsys):
    old, new = make_tree(tmp_path / "old", 3, 0.5), make_tree(tmp_path / "new", 2, 0.75)
    monkeypatch.chdir(new)
    monkeypatch.setattr(sys, "argv", ["before", "--before", str(old), "--rounds", "2"])
    before.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["before_over_now"] == dict.fromkeys([*cpu.LATENT_FRAMES, "bundled"], 1.5)
    assert result["memory_vs_plan"] == dict.fromkeys(cpu.LATENT_FRAMES, 0.75)
    ran = (new / "commands.txt").read_text()
    assert ran == (old / "commands.txt").read_text()
    assert ran.count("--case vae --model build/bench-models/vae --latent-frames 2 --rounds 5") == 2
    assert ran.count("tiny_end_to_end.sh build/release 20") == 2


def test_cases_that_the_earlier_engine_does_not_know_are_left_out(tmp_path, monkeypatch, capsys):
    old, new = make_tree(tmp_path / "old", 3, 0.5), make_tree(tmp_path / "new", 2, 0.75)
    (old / "engine/models/ltx2").rmdir()
    monkeypatch.chdir(new)
    monkeypatch.setattr(sys, "argv", ["before", "--before", str(old), "--rounds", "1"])
    before.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["before_over_now"].keys() == {*cpu.LATENT_FRAMES, "bundled"} - {"ltx2"}
