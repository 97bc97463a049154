"""What gradient statistics, metrics and progress add to a training step.

Both parts are too small to find by comparing two runs of a large model. So steps with statistics are compared with their
neighbours in the same run, and the line of a step is measured where steps take next to no time.
"""
import dataclasses
import statistics

import ballast_side
from compared_jobs import MLP

NEVER = 1000000
EVERY = 4  # steps between statistics


def statistics_cost(work, seconds):
    """(seconds of a step without statistics, what statistics of one step add). Their line is written at the start of the
    step after; so both steps are compared with the other two of four."""
    step = ballast_side.bench_step(work, min(seconds, 2))["step_ms"]["median"] / 1e3
    last = EVERY * (max(3, round(seconds / step / EVERY)) + 1)
    times = ballast_side.training_times(work, {"every": 1, "statistics": EVERY, "progress": "lines"}, last)
    lengths = {after: times[after] - times[after - 1] for after in range(EVERY + 1, last + 1)}
    medians = [statistics.median(length for number, length in lengths.items() if number % EVERY == place) for place in range(EVERY)]
    quiet = statistics.median(length for number, length in lengths.items() if number % EVERY >= 2)
    return quiet, medians[0] + medians[1] - 2 * quiet


def line_cost(work, steps=2000):
    """Seconds that one line of metrics and of progress adds, by the steps of a tiny model."""
    tiny = dataclasses.replace(work, model={**MLP, "features": 4, "hidden": [8]}, batch=2, precision="f32")
    with_lines = ballast_side.training_times(tiny, {"every": 1, "statistics": NEVER, "progress": "lines"}, steps)
    without = ballast_side.training_times(tiny, {"every": steps, "statistics": NEVER, "progress": "none"}, steps)
    return ((with_lines[steps] - with_lines[1]) - (without[steps] - without[1])) / (steps - 1)


def reporting_cost(work, seconds):
    """Seconds of a step, of statistics in one step, of one line."""
    step, of_statistics = statistics_cost(work, seconds)
    return {"step": step, "statistics": of_statistics, "line": line_cost(work)}
