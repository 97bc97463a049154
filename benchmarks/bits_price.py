#!/usr/bin/env python3
"""What the promise of the same bits on any number of workers costs, as far as it shows from outside: fills docs/performance.md.

benchmarks/bits_price.py [--work gpt2-bf16] [--rounds 3] [--seconds 10]
Two parts, each against doing without, in turns, as a share of the job's step with 2 workers of one thread:
- the ordered sum over shards with norm, clipping and AdamW, against MPI's all-reduce, whose order of addition nobody fixes,
  with the same norm, clipping and AdamW on each worker (`ballast bench collective`);
- cutting the batch into shards: the step of one worker with 2 and with 4 shards against the step with 1.
A cost below zero is a gain. Blocks of fixed size inside an operation cannot be turned off, so their cost is not in here.
"""
import argparse
import json
import pathlib
import statistics
import sys

import ballast_side
import machine
from bars_table import lines_of, spread
from compared_jobs import WORKS
from marked_section import replace_section


def measure_round(work, seconds):
    """Milliseconds of each part."""
    reduction = ballast_side.ballast_json(["bench", "collective", "--sizes", "gpt2", "--threads", 1, "--seconds", seconds], 2)["rows"][0]
    steps = {shards: ballast_side.bench_step(work, seconds, 1, shards) for shards in (1, 2, 4) if work.batch % shards == 0}
    pair = ballast_side.bench_step(work, seconds)
    return {
        "ordered": 1e3 * reduction["ballast"]["seconds"], "unordered": 1e3 * reduction["mpi"]["seconds"],
        "reduction_bytes": reduction["bytes"], "step": pair["step_ms"]["median"],
        **{f"shards {shards}": step["step_ms"]["median"] for shards, step in steps.items()},
    }


def rows_of(rounds):
    def cost(part, without, whole):
        return spread([100 * (one[part] - one[without]) / one[whole] for one in rounds], "{:+.1f}") + " %"

    def middle(key):
        return f"{statistics.median(one[key] for one in rounds):,.1f}"

    yield ["sum in order, norm, clip, AdamW, of a step with 2 workers", middle("ordered"), middle("unordered"), middle("step"),
           cost("ordered", "unordered", "step")]
    for shards in ("shards 2", "shards 4"):
        if shards in rounds[0]:
            yield [f"{shards} instead of 1, one worker", middle(shards), middle("shards 1"), middle("shards 1"),
                   cost(shards, "shards 1", "shards 1")]


def main():
    root = ballast_side.ROOT
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpt2 = [name for name in WORKS if name.startswith("gpt2")]
    arguments.add_argument("--work", default="gpt2-bf16", choices=gpt2, help="the job; the reduction is that of GPT-2's 124 M weights")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=10, help="of each measured run, about")
    arguments.add_argument("--json", type=pathlib.Path, default=root / "build/bits_price.json", help="gets every round")
    arguments.add_argument("--page", type=pathlib.Path, default=root / "docs/performance.md", help="Markdown file to fill")
    options = arguments.parse_args()
    rounds = []
    for turn in range(options.rounds):
        print(f"round {turn + 1}", file=sys.stderr, flush=True)
        try:
            rounds.append(measure_round(WORKS[options.work], options.seconds))
        except ballast_side.RunFailed as error:
            sys.exit(str(error))
    options.json.write_text(json.dumps(rounds, indent=1) + "\n")
    about = "; ".join(f"{what}: {text}" for what, text in machine.describe().items())
    lines = [f"{WORKS[options.work].title.rsplit(',', 1)[0]}; --rounds {options.rounds} --seconds {options.seconds:g}; {about}.", ""]
    lines += lines_of(("part of the promise", "with, ms", "without, ms", "step, ms", "cost"), rows_of(rounds))
    replace_section(options.page, "price", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
