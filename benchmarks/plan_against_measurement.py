#!/usr/bin/env python3
"""Predictions of `ballast plan` beside what jobs take on 1, 2 and 4 hosts: network namespaces whose links are shaped. Needs root.

plan_against_measurement.py benchmarks/plan_jobs/*.toml [--hosts 1,2,4] [--rates 1gbit,200mbit] [--seconds 10]

What is compared is the simulation, not how well somebody guessed the machine: rates of a worker come from `bench step` with as many workers on one host, those of a link from
`bench network`, and, where the workers leave no processor for the network, what a byte takes of one from two TCP streams at that rate, and what a message takes from
`bench network` while all processors are busy. Steps are means. Memory is the most that a worker had resident; the prediction has added to it what another job of the same
precision, with the same libraries at work, takes on as many hosts beyond its plan. Buckets are as large as the job chose.
"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import tomllib

import ballast_side

sys.path.insert(0, str(ballast_side.ROOT / "tests/system"))
import hosts  # noqa: E402
import jobs  # noqa: E402

PORT = 9753
ANY_RATES = {"cluster.flops": 1e11, "cluster.memory_bandwidth": 1e10}  # memory does not depend on them
PROBES = {
    "convnet": (512, {"name": "convnet", "image_rows": 16, "image_columns": 16, "image_channels": 3, "channels": [16, 32, 64], "depth": 1, "classes": 10}),
    "gpt": (8, {"name": "gpt", "layers": 1, "heads": 3, "width": 192, "context": 128, "vocabulary": 128}),
    "mlp": (512, {"name": "mlp", "features": 768, "hidden": [768, 768], "classes": 10}),
}  # samples of a worker, model
SINK = f"""
import socket, sys
server = socket.create_server(("", {PORT}))
print("ready", flush=True)
link, _ = server.accept()
left = int(sys.argv[1])
while left > 0:
    left -= len(link.recv(1 << 20))
link.sendall(b"x")
"""
SOURCE = f"""
import socket, sys
link = socket.create_connection((sys.argv[1], {PORT}))
piece = bytes(1 << 20)
for _ in range(int(sys.argv[2]) >> 20):
    link.sendall(piece)
link.recv(1)
"""


def python_on(group, host, code, *arguments):
    return subprocess.Popen(["ip", "netns", "exec", group.names[host], sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def busy_seconds():
    """Of all processors of this machine, since it started."""
    user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def exchange(group, size):
    """Seconds of processors, for as many bytes from each of two hosts to the other."""
    before = busy_seconds()
    sinks = [python_on(group, host, SINK, str(size)) for host in (0, 1)]
    try:
        for sink in sinks:
            sink.stdout.readline()
        for source in [python_on(group, host, SOURCE, f"10.99.0.{2 - host}", str(size)) for host in (0, 1)]:
            source.communicate()
    finally:
        for sink in sinks:
            sink.kill()
            sink.wait()
    return busy_seconds() - before


def of_a_byte(group, rate):
    """Seconds of a processor, which depend on the rate: fast links carry larger segments."""
    start, more = 1 << 20, max(1, int(3 * rate) >> 20) << 20
    return max(0.0, exchange(group, start + more) - exchange(group, start)) / (4 * more)  # two hosts send it, two receive it


@contextlib.contextmanager
def busy_processors():
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def bench_network(prefix, seconds):
    return ballast_json(["bench", "network", "--seconds", seconds, "--threads", "1"], prefix)


def link_of(group, prefix):
    """Settings of [cluster]. Every host sends to every other, so the rate is that of the pattern in which they do. Where no processor is left for the network, the workers have to
    share what it takes of them, and a message waits for one."""
    networks = [bench_network(prefix, 2) for _ in range(3)]
    rate = statistics.median(row["bytes_per_second"] for network in networks for row in network["rows"] if row["pattern"] == "rotation")
    latency, piece = (statistics.median(network[key] for network in networks) for key in ("latency_seconds", "piece_seconds"))
    link = {"cluster.latency": latency, "cluster.message_seconds": piece, "cluster.network_bandwidth": rate}
    processors = len(os.sched_getaffinity(0))
    if group.count < processors:
        return link
    with busy_processors():
        waiting = statistics.median(bench_network(prefix, 0.1)["piece_seconds"] for _ in range(3))
    return {**link, "cluster.message_seconds": waiting, "cluster.network_overhead": of_a_byte(group, rate) * group.count / processors}


def variables():
    """Hosts share the cores: no worker may be bound to the first one of each."""
    return {**jobs.environment(), **ballast_side.variables(), "OMPI_MCA_hwloc_base_binding_policy": "none"}


def ballast_json(words, prefix):
    return ballast_side.json_from(prefix, words, variables())


def bench(job, seconds, prefix):
    return ballast_json(["bench", "step", job, "--seconds", seconds, "compute.threads=1"], prefix)


def rates_of_workers(job, seconds, workers):
    """Of one of `workers` that are all at it, without a network."""
    report = bench(job, seconds, ballast_side.mpirun(workers))
    roof = report["roof"]
    least = 1e3 / workers * (report["flops"] / roof["matmul_flops_per_second"] + report["activation_bytes"] / roof["memory_bytes_per_second"])
    passes = report["step_ms"]["mean"] - report["phases_ms"]["update"]  # until the slowest worker has ended them: nothing is sent here
    return {"cluster.flops": roof["matmul_flops_per_second"], "cluster.memory_bandwidth": roof["memory_bytes_per_second"],
            "cluster.efficiency": min(1.0, least / passes)}


def predict(job, count, rates, link):
    settings = {"cluster.nodes": count, "cluster.workers": 1, **rates, **link}
    words = [f"{key}={value}" for key, value in settings.items()]
    return ballast_side.ballast_json(["plan", job, *words], workers=0)


def most_resident(report):
    return max(report["peak_bytes"])


def planned_bytes(plan):
    """No checkpoint is written here."""
    return plan["memory_bytes"]["total"] - plan["memory_bytes"]["snapshot"]


class Programs:
    """What a worker takes beyond its plan: code, libraries and their buffers, MPI."""

    def __init__(self, folder):
        self.folder, self.found = pathlib.Path(folder), {}

    def bytes(self, job, prefix, count):
        about = tomllib.loads(pathlib.Path(job).read_text())
        precision = about.get("precision", {}).get("compute", "f32")
        model = about["model"]["name"]
        if (model, precision, count) not in self.found:
            probe = self.folder / f"probe-{model}-{precision}-{count}.toml"
            samples, shape = PROBES[model]
            probe.write_text(jobs.toml({
                "job": {"steps": 5}, "model": shape, "precision": {"compute": precision},
                "data": {"format": "synthetic", "samples": samples * count, "validation": 0.0}, "batch": {"size": samples * count, "shards": count}}))
            self.found[model, precision, count] = most_resident(bench(probe, 1, prefix)) - planned_bytes(predict(probe, count, ANY_RATES, {}))
        return self.found[model, precision, count]


def row(job, count, rate, rates, seconds, programs, folder):
    """One line of the table."""
    if count == 1:
        prefix, link = ballast_side.mpirun(1), {}
        measured, program = bench(job, seconds, prefix), programs.bytes(job, prefix, count)
    else:
        with hosts.Hosts(count, folder, rate=rate) as group:
            prefix = group.mpirun([1] * count)
            link = link_of(group, prefix)
            measured, program = bench(job, seconds, prefix), programs.bytes(job, prefix, count)
    print(pathlib.Path(job).stem, count, rate or "-", {**rates, **link}, file=sys.stderr)
    plan = predict(job, count, rates, {**link, "comm.bucket_mib": measured["bucket_mib"]})
    said, took = 1e3 * plan["forecast"]["step"]["seconds"], measured["step_ms"]["mean"]
    resident, memory = most_resident(measured), program + planned_bytes(plan)
    spread = f"{measured['step_ms']['low']:.1f}..{measured['step_ms']['high']:.1f}"
    return [pathlib.Path(job).stem, str(count), rate if link else "-", f"{took:.1f} ({spread})", f"{said:.1f}", f"{said / took:.2f}",
            f"{resident / 2**20:.1f}", f"{memory / 2**20:.1f}", f"{memory / resident:.2f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="+", metavar="JOB")
    parser.add_argument("--hosts", default="1,2,4")
    parser.add_argument("--rates", default="1gbit,200mbit")
    parser.add_argument("--seconds", type=float, default=10)
    chosen = parser.parse_args()
    if hosts.missing():
        sys.exit(hosts.missing())
    print("| job | hosts | link | measured ms (low..high) | predicted ms | ratio | measured MiB | predicted MiB | ratio |\n|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="ballast-plan-") as folder:
        programs = Programs(folder)
        for job in chosen.jobs:
            for count in map(int, chosen.hosts.split(",")):
                rates = rates_of_workers(job, chosen.seconds, count)
                for rate in chosen.rates.split(",") if count > 1 else [None]:
                    print("| " + " | ".join(row(job, count, rate, rates, chosen.seconds, programs, folder)) + " |", flush=True)


if __name__ == "__main__":
    main()
