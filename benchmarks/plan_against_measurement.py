#!/usr/bin/env python3
"""Predictions of `ballast plan` beside what jobs take on 1, 2 and 4 hosts: network namespaces whose links are shaped. Needs root.

plan_against_measurement.py benchmarks/plan_jobs/*.toml [--hosts 1,2,4] [--rates 1gbit,200mbit] [--seconds 10]

What is compared is the simulation, not how well somebody guessed the machine: rates of a worker come from `bench step` with as many workers on one host, those of a link
from a plain TCP stream between two hosts; and what a byte takes of a processor, where none is left for the network, from another such stream, as fast as it goes. Memory is
the most that a worker had resident; the prediction has added to it what another job of the same precision, with few weights and the same libraries at work, takes on as
many hosts beyond its plan.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import ballast_side

sys.path.insert(0, str(ballast_side.ROOT / "tests/system"))
import hosts  # noqa: E402
import jobs  # noqa: E402

PORT, TURNS, STREAM_BYTES, LONG_STREAM_BYTES = 9753, 200, 1 << 24, 1 << 31
ANY_RATES = {"cluster.flops": 1e11, "cluster.memory_bandwidth": 1e10}  # memory does not depend on them
PROBES = {
    "convnet": {"name": "convnet", "image_rows": 16, "image_columns": 16, "image_channels": 3, "channels": [16, 32, 64], "depth": 1, "classes": 10},
    "others": {"name": "mlp", "features": 512, "hidden": [512, 512], "classes": 10},
}
SINK = f"""
import socket, sys
server = socket.create_server(("", {PORT}))
print("ready", flush=True)
link, _ = server.accept()
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range({TURNS}):
    link.recv(1)
    link.sendall(b"x")
left = int(sys.argv[1])
while left > 0:
    left -= len(link.recv(1 << 20))
link.sendall(b"x")
link.recv(1)
"""


SOURCE = f"""
import json, socket, statistics, sys, time
link = socket.create_connection((sys.argv[1], {PORT}))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
ways = []
for _ in range({TURNS}):
    begin = time.perf_counter()
    link.sendall(b"x")
    link.recv(1)
    ways.append((time.perf_counter() - begin) / 2)
begin = time.perf_counter()
size, piece = int(sys.argv[2]), bytes(1 << 20)
for _ in range(size >> 20):
    link.sendall(piece)
link.recv(1)
print(json.dumps([statistics.median(ways), size / (time.perf_counter() - begin)]))
"""


def python_on(group, host, code, *arguments):
    return subprocess.Popen(["ip", "netns", "exec", group.names[host], sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def stream(group, size=STREAM_BYTES):
    """(latency, bytes a second) of the link between the first two hosts, with both directions at once as in an exchange."""
    sinks = [python_on(group, host, SINK, str(size)) for host in (0, 1)]
    try:
        for sink in sinks:
            sink.stdout.readline()
        sources = [python_on(group, host, SOURCE, f"10.99.0.{2 - host}", str(size)) for host in (0, 1)]
        found = [json.loads(source.communicate()[0]) for source in sources]
        return max(way for way, _ in found), min(rate for _, rate in found)
    finally:
        for sink in sinks:
            sink.kill()
            sink.wait()


def busy_seconds():
    """Of all processors of this machine, since it started."""
    user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def seconds_of_a_byte(folder):
    """Of a processor, for a byte that a host sends or receives: two hosts exchange as fast as they can."""
    with hosts.Hosts(2, folder, rate="10gbit") as group:
        before = busy_seconds()
        stream(group, LONG_STREAM_BYTES)
        return (busy_seconds() - before) / (4 * LONG_STREAM_BYTES)


def network_overhead(of_a_byte, workers):
    """Where no processor is left for the network, the workers have to share what it takes."""
    processors = len(os.sched_getaffinity(0))
    return of_a_byte * workers / processors if workers >= processors else 0.0


def variables():
    """Hosts share the cores: no worker may be bound to the first one of each."""
    return {**jobs.environment(), **ballast_side.variables(), "OMPI_MCA_hwloc_base_binding_policy": "none"}


def bench(job, seconds, prefix):
    command = [*prefix, str(ballast_side.PROGRAM), "bench", "step", str(job), "--seconds", str(seconds), "compute.threads=1", "--json"]
    done = subprocess.run(command, text=True, capture_output=True, env=variables(), timeout=ballast_side.LONGEST)
    if done.returncode:
        raise ballast_side.RunFailed(f"{' '.join(command)}: {ballast_side.last_lines(done.stderr)}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def rates_of_workers(job, seconds, workers):
    """Of one of `workers` that are all at it, without a network."""
    report = bench(job, seconds, ballast_side.mpirun(workers))
    roof = report["roof"]
    least = 1e3 / workers * (report["flops"] / roof["matmul_flops_per_second"] + report["activation_bytes"] / roof["memory_bytes_per_second"])
    passes = report["step_ms"]["median"] - report["phases_ms"]["update"]  # until the slowest worker has ended them: nothing is sent here
    return {"cluster.flops": roof["matmul_flops_per_second"], "cluster.memory_bandwidth": roof["memory_bytes_per_second"],
            "cluster.efficiency": min(1.0, least / passes)}


def predict(job, count, rates, link):
    settings = {"cluster.nodes": count, "cluster.workers": 1, **rates}
    if link:
        settings.update({"cluster.latency": link[0], "cluster.network_bandwidth": link[1]})
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
        model = about["model"]["name"] if about["model"]["name"] in PROBES else "others"
        if (model, precision, count) not in self.found:
            probe = self.folder / f"probe-{model}-{precision}-{count}.toml"
            probe.write_text(jobs.toml({
                "job": {"steps": 5}, "model": PROBES[model], "precision": {"compute": precision},
                "data": {"format": "synthetic", "samples": 256 * count, "validation": 0.0}, "batch": {"size": 256 * count, "shards": count}}))
            self.found[model, precision, count] = most_resident(bench(probe, 1, prefix)) - planned_bytes(predict(probe, count, ANY_RATES, None))
        return self.found[model, precision, count]


def row(job, count, rate, rates, seconds, programs, folder):
    """One line of the table."""
    if count == 1:
        prefix, link = ballast_side.mpirun(1), None
        measured, program = bench(job, seconds, prefix), programs.bytes(job, prefix, count)
    else:
        with hosts.Hosts(count, folder, rate=rate) as group:
            link, prefix = stream(group), group.mpirun([1] * count)
            measured, program = bench(job, seconds, prefix), programs.bytes(job, prefix, count)
    plan = predict(job, count, rates, link)
    said, took = 1e3 * plan["forecast"]["step"]["seconds"], measured["step_ms"]["median"]
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
        programs, of_a_byte = Programs(folder), seconds_of_a_byte(folder)
        print(f"\n{1e9 * of_a_byte:.2f} ns of a processor for a byte sent or received\n", file=sys.stderr)
        for job in chosen.jobs:
            for count in map(int, chosen.hosts.split(",")):
                rates = {**rates_of_workers(job, chosen.seconds, count), "cluster.network_overhead": network_overhead(of_a_byte, count)}
                for rate in chosen.rates.split(",") if count > 1 else [None]:
                    print("| " + " | ".join(row(job, count, rate, rates, chosen.seconds, programs, folder)) + " |", flush=True)


if __name__ == "__main__":
    main()
