#!/usr/bin/env python3
"""Ballast against PyTorch on the same work, taking turns on this machine: fills the table of bars in docs/performance.md.

compare_with_pytorch.sh finds a PyTorch and runs this. Speed is measured with 2 workers of one thread each, in the peer also
as one process with 2 threads, each with and without memory tuning, eager and compiled. The first round tries every way, the later
ones repeat the fastest (--contenders). Compiling and making data are not counted. The ratio of a round is Ballast's speed over that of the peer's way with the best median.
"""
import argparse
import json
import pathlib
import subprocess
import sys

import ballast_side
import bars_table
import machine
import peer_side
from compared_jobs import WORKS
from marked_section import replace_section
from reporting_cost import reporting_cost

PAGE = ballast_side.ROOT / "docs/performance.md"
OTHER_ROWS = ("reduction", "memory", "first-step", "statistics")


class Comparison:
    """Runs rows; `records` holds every run as {row, round, side, way, result}."""

    def __init__(self, options):
        self.options = options
        self.python = sys.executable
        self.ways = [way for way in peer_side.all_ways(not options.no_compile) if not options.ways or options.ways in way.name]
        self.records = []
        self.broken = set()

    def attempt(self, row, turn, side, way, run):
        """A way that fails once says why and is left out of later rounds."""
        if (row, side, way) in self.broken:
            return
        print(f"{row}, round {turn + 1}: {side}{', ' if way else ''}{way}", file=sys.stderr, flush=True)
        try:
            self.records.append({"row": row, "round": turn, "side": side, "way": way, "result": run()})
        except (ballast_side.RunFailed, subprocess.TimeoutExpired, KeyError, IndexError, ValueError) as error:
            self.broken.add((row, side, way))
            print(f"{row}: {side} {way} failed and is left out: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def speed(self, row):
        work, seconds = WORKS[row], self.options.seconds
        ways = self.ways
        for turn in range(self.options.rounds):
            self.attempt(row, turn, "Ballast", "", lambda: ballast_side.bench_step(work, seconds))
            for way in ways:
                self.attempt(row, turn, "PyTorch", way.name, lambda: peer_side.peer_run(self.python, work, way, seconds))
            if turn == 0:
                ways = self.fastest(row)

    def fastest(self, row):
        """The ways that the first round leaves in the running."""
        speeds = {record["way"]: record["result"]["items_per_second"] for record in self.records
                  if record["row"] == row and record["side"] == "PyTorch"}
        best = sorted(speeds, key=speeds.get, reverse=True)[:self.options.contenders]
        return [way for way in self.ways if way.name in best]

    def reduction(self, row):
        for turn in range(self.options.rounds):
            command = ["bench", "collective", "--sizes", "gpt2", "--threads", 1, "--seconds", self.options.seconds]
            self.attempt(row, turn, "Ballast", "", lambda: ballast_side.ballast_json(command, 2)["rows"][0])

    def memory(self, row):
        """Of eager workers only: compiling needs memory of its own."""
        work, seconds = WORKS["gpt2-bf16"], min(self.options.seconds, 5)
        self.attempt(row, 0, "Ballast", "", lambda: ballast_side.bench_step(work, seconds))
        for way in peer_side.all_ways(compiled=False):
            if way.workers == 2:
                self.attempt(row, 0, "PyTorch", way.name, lambda: peer_side.peer_run(self.python, work, way, seconds))

    def first_step(self, row):
        work = WORKS["mlp-f32"]
        for turn in range(self.options.rounds):
            self.attempt(row, turn, "Ballast", "", lambda: ballast_side.seconds_to_first_step(work))
            for way in peer_side.all_ways(compiled=False):
                if way.workers == 2:
                    self.attempt(row, turn, "PyTorch", way.name, lambda: peer_side.seconds_to_first_step(self.python, work, way))

    def statistics(self, row):
        for turn in range(self.options.rounds):
            self.attempt(row, turn, "Ballast", "", lambda: reporting_cost(WORKS["gpt2-bf16"], 2 * self.options.seconds))

    def run(self, row):
        measure = self.speed if row in WORKS else getattr(self, row.replace("-", "_"))
        try:
            measure(row)
        except (ballast_side.RunFailed, subprocess.TimeoutExpired) as error:
            print(f"{row} is left out: {error}", file=sys.stderr, flush=True)


def parse():
    rows = [*WORKS, *OTHER_ROWS]
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", nargs="*", default=rows, choices=rows, metavar="ROW", help=f"of: {', '.join(rows)} (default: all)")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--contenders", type=int, default=3, help="ways of the peer that the rounds after the first repeat")
    arguments.add_argument("--seconds", type=float, default=10, help="of measured steps in each run, about")
    arguments.add_argument("--ways", default="", help="only the peer's ways whose name holds this text, such as '2 workers'")
    arguments.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    arguments.add_argument("--json", type=pathlib.Path, default=ballast_side.ROOT / "build/bars.json",
                           help="gets every run (default: build/bars.json)")
    arguments.add_argument("--keep", action="store_true", help="rows that the --json file holds and that are not run now stay in the table")
    arguments.add_argument("--page", type=pathlib.Path, default=PAGE, help="Markdown file to fill (default: docs/performance.md)")
    return arguments.parse_args()


def main():
    options = parse()
    comparison = Comparison(options)
    try:
        about = {**machine.describe(), "PyTorch": peer_side.torch_version(comparison.python)}
    except ballast_side.RunFailed as error:
        sys.exit(str(error))
    kept = []
    if options.keep and options.json.exists():
        kept = [record for record in json.loads(options.json.read_text())["records"] if record["row"] not in options.rows]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    for row in options.rows:
        comparison.run(row)
        whole = {"machine": about, "rounds": options.rounds, "seconds": options.seconds, "records": kept + comparison.records}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    text = bars_table.section(about, options, kept + comparison.records)
    replace_section(options.page, "bars", text)
    print(text)


if __name__ == "__main__":
    main()
