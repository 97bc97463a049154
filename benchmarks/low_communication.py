#!/usr/bin/env python3
"""A job with [outer] on hosts with slow links, against the same job that sends nothing and against synchronous training. Needs root: the hosts are network namespaces.

low_communication.py JOB [key=value ...] [--hosts 2] [--rate 20mbit] [--delay-ms 0] [--outer key=value ...] [--synchronous key=value ...]

Four runs, one worker of one thread on each host: with the settings of --outer to the end; with these and an outer.every that never comes, before and after it, a third as long
each; synchronous on the same links for a few steps; and synchronous to the end on one host, whose losses are those of any layout. Settings of --synchronous are for the last two.
Rates leave out each run's first period and what follows its last step.
"""
import json
import pathlib
import statistics
import sys
import tempfile

import slow_network
from slow_network import hosts

OUTER = ["outer.every=50", "outer.fragments=4", "outer.delay=1", "comm.compression=int4"]


class Runs:
    def __init__(self, words, folder):
        self.words, self.folder, self.count = words, folder, 0

    def events(self, prefix, *settings):
        """Those of the job's metrics.jsonl."""
        self.count += 1
        directory = self.folder / str(self.count)
        slow_network.output_of([*prefix, slow_network.BALLAST, "train", *self.words, f"job.dir={directory}", "compute.threads=1", "checkpoint.every=0",
                                "log.progress=none", *settings])
        return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def seconds_of_a_step(events):
    """Mean of all steps behind the first that was logged."""
    steps = [(event["step"], event["seconds"]) for event in events if event["event"] == "step"]
    return (steps[-1][1] - steps[0][1]) / (steps[-1][0] - steps[0][0])


def last_loss(events):
    return [event["loss"] for event in events if event["event"] == "evaluation"][-1]


def main():
    parser = slow_network.parser_of_hosts(__doc__, count=2, rate="20mbit", steps=1500)
    parser.add_argument("--outer", nargs="*", default=[])
    parser.add_argument("--synchronous", nargs="*", default=[])
    parser.add_argument("job", nargs="+")
    options = parser.parse_args()
    if hosts.missing():
        sys.exit(hosts.missing())
    count, steps = options.hosts, options.steps
    outer = [*OUTER, f"comm.groups={count}", *options.outer]
    every = next(int(word.split("=")[1]) for word in reversed(outer) if word.startswith("outer.every="))
    whole = [f"job.steps={steps}", f"evaluate.every={steps}", f"log.every={every}"]
    part = [f"job.steps={max(3 * every, steps // 3 // every * every)}", f"evaluate.every={steps}", f"log.every={every}"]
    with tempfile.TemporaryDirectory(prefix="ballast-outer-") as name:
        folder = pathlib.Path(name)
        runs = Runs(options.job, folder)
        with hosts.Hosts(count, folder, options.rate, options.delay_ms) as group:
            mpirun = group.mpirun([1] * count)
            silent = [*outer, "outer.every=1000000", *part]
            alone = [seconds_of_a_step(runs.events(mpirun, *silent))]
            before = group.bytes_sent()
            trained = runs.events(mpirun, *outer, *whole)
            sent = max(after - start for after, start in zip(group.bytes_sent(), before)) / steps
            alone.append(seconds_of_a_step(runs.events(mpirun, *silent)))
            linked = seconds_of_a_step(runs.events(mpirun, *options.synchronous, "job.steps=24", "evaluate.every=0", "log.every=4"))
        synchronous = last_loss(runs.events(["mpirun", "-n", count], *options.synchronous, *whole))
    step, silence, loss = seconds_of_a_step(trained), statistics.mean(alone), last_loss(trained)
    print(f"{count} hosts, {options.rate}, {options.delay_ms:g} ms, {steps} steps; {' '.join(outer)}")
    print(f"without communication {silence * 1e3:.1f} ms a step ({alone[0] * 1e3:.1f} before, {alone[1] * 1e3:.1f} after); with it {step * 1e3:.1f} ms: "
          f"{100 * silence / step:.1f} % of the tokens a second; synchronous {linked * 1e3:.1f} ms: {100 * silence / linked:.1f} %")
    print(f"at most {sent / 1e3:.1f} kB left a host in a step (frames, start included)")
    print(f"last evaluation {loss:.4f}, synchronous {synchronous:.4f}: {100 * (loss / synchronous - 1):+.2f} %")


if __name__ == "__main__":
    main()
