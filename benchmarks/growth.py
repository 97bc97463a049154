#!/usr/bin/env python3
"""How a step's time and memory grow with width, depth, context, batch and workers: fills docs/performance.md and docs/growth.svg.

benchmarks/growth.py [--seconds 5] [--axes width workers ...] [--precision f32]
A gpt of 6 layers and 384 channels, context 256, batch 12, with 2 workers of one thread, changes in one thing at a time. The
expected time is the roof of each job times one number for a column: the median of what its steps take over their roofs. The
expected memory is what `ballast plan` names, plus what the base job takes beyond its plan (code, libraries, MPI).
"""
import argparse
import dataclasses
import json
import pathlib
import statistics
import sys

import ballast_side
import growth_plot
import machine
from compared_jobs import GPT_SMALL, Work
from marked_section import replace_section

AXES = {"width": [96, 192, 384, 768], "layers": [3, 6, 12, 24], "context": [64, 128, 256, 512, 1024], "batch": [4, 12, 24, 48],
        "workers": [1, 2, 4]}
BASE = {"width": 384, "layers": 6, "context": 256, "batch": 12, "workers": 2}
SHARDS_OF_WORKERS = 4  # along the axis of workers the work is the same, so its base has 4 shards as well


@dataclasses.dataclass
class Point:
    axis: str
    value: int
    step: dict  # of `bench step`
    plan: dict  # of `plan`
    roof_ms: float = 0.0
    expected_ms: float = 0.0
    expected_peak: float = 0.0
    expected_node: float = 0.0

    @property
    def is_base(self):
        return self.value == BASE[self.axis]

    @property
    def step_ms(self):
        return self.step["step_ms"]["median"]

    @property
    def peak(self):
        return max(self.step["peak_bytes"])

    @property
    def node(self):
        return self.step["node_bytes"]

    def planned(self):
        """Bytes of a worker and of the node while training; the snapshot of checkpoints is not made here."""
        memory = self.plan["memory_bytes"]
        worker = memory["total"] - memory["snapshot"]
        shared = memory["values"] if memory["values_shared"] else 0
        return worker, (worker - shared) * self.plan["workers"] + shared


def measure(axis, value, options):
    workers = value if axis == "workers" else BASE["workers"]
    batch = value if axis == "batch" else BASE["batch"]
    shards = SHARDS_OF_WORKERS if axis == "workers" else workers
    model = {axis: value} if axis in GPT_SMALL else {}
    work = Work("", GPT_SMALL, batch, options.precision)
    print(f"{axis} {value}", file=sys.stderr, flush=True)
    step = ballast_side.bench_step(work, options.seconds, workers, shards, **model)
    return Point(axis, value, step, ballast_side.plan(work, workers, shards, **model))


def roof_ms(point, points):
    """With the median of what was measured with as many workers: one machine has one speed."""
    alike = [other.step["roof"] for other in points if other.step["workers"] == point.step["workers"]]
    flops, memory = (statistics.median(roof[key] for roof in alike) for key in ("matmul_flops_per_second", "memory_bytes_per_second"))
    seconds = point.step["flops"] / flops + (point.step["activation_bytes"] + point.step["update_bytes"]) / memory
    return 1e3 * seconds / point.step["workers"]


def expect(points):
    """Fills the roofs and what is expected."""
    for point in points:
        point.roof_ms = roof_ms(point, points)
    for axis in AXES:
        along = [point for point in points if point.axis == axis]
        base = next((point for point in along if point.is_base), None)
        if base is None:
            continue
        over_roof = statistics.median(point.step_ms / point.roof_ms for point in along)
        beyond_worker, beyond_node = base.peak - base.planned()[0], base.node - base.planned()[1]
        for point in along:
            worker, node = point.planned()
            point.expected_ms = over_roof * point.roof_ms
            point.expected_peak = worker + beyond_worker
            point.expected_node = node + beyond_node * point.step["workers"] / base.step["workers"]


def table(points, options):
    about = "; ".join(f"{what}: {text}" for what, text in machine.describe().items())
    yield f"Measured with --precision {options.precision} --seconds {options.seconds:g} on {about}."
    yield ""
    yield "![Time and memory of a step against width, layers, context, batch and workers](growth.svg)"
    yield ""
    yield "| what grows | step, ms | expected | ratio | of the roof | worker, MiB | expected | node, MiB | expected |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for point in points:
        name = f"{point.axis} {point.value}" + (" (base)" if point.is_base else "")
        yield (f"| {name} | {point.step_ms:,.1f} | {point.expected_ms:,.1f} | {point.step_ms / point.expected_ms:.2f} | "
               f"{100 * point.roof_ms / point.step_ms:.0f} % | {point.peak / 2**20:,.0f} | {point.expected_peak / 2**20:,.0f} | "
               f"{point.node / 2**20:,.0f} | {point.expected_node / 2**20:,.0f} |")


def main():
    docs = ballast_side.ROOT / "docs"
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=5, help="of measured steps for each point, about")
    arguments.add_argument("--axes", nargs="+", default=list(AXES), choices=list(AXES))
    arguments.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    arguments.add_argument("--json", type=pathlib.Path, default=ballast_side.ROOT / "build/growth.json", help="gets every run")
    arguments.add_argument("--redraw", action="store_true", help="measure nothing: take the runs from the --json file")
    arguments.add_argument("--page", type=pathlib.Path, default=docs / "performance.md", help="Markdown file to fill")
    arguments.add_argument("--plot", type=pathlib.Path, default=docs / "growth.svg", help="picture to write")
    options = arguments.parse_args()
    if options.redraw:
        points = [Point(**point) for point in json.loads(options.json.read_text())]
    else:
        points = [measure(axis, value, options) for axis in options.axes for value in AXES[axis]]
    expect(points)
    options.json.write_text(json.dumps([dataclasses.asdict(point) for point in points]) + "\n")
    text = "\n".join(table(points, options))
    replace_section(options.page, "growth", text)
    options.plot.write_text(growth_plot.svg(points))
    print(text)


if __name__ == "__main__":
    main()
