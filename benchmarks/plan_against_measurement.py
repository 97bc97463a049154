#!/usr/bin/env python3
"""Predictions of `ballast plan` beside what jobs take on 1, 2 and 4 hosts: network namespaces whose links are shaped. Needs root.

plan_against_measurement.py benchmarks/plan_jobs/*.toml [--hosts 1,2,4] [--rates 1gbit,200mbit] [--seconds 10]

Rates of a worker come from `bench step` with as many workers on one host, those of a link from a plain TCP stream between two hosts: what is compared is the
simulation, not how well somebody guessed the machine. Memory is the most that a worker had resident; the prediction has added to it what another job of the same
precision, with few weights, takes on as many hosts beyond its plan.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import ballast_side

sys.path.insert(0, str(ballast_side.ROOT / "tests/system"))
import hosts  # noqa: E402
import jobs  # noqa: E402

PORT, TURNS, STREAM_BYTES = 9753, 200, 1 << 24
ANY_RATES = {"cluster.flops": 1e11, "cluster.memory_bandwidth": 1e10}  # memory does not depend on them
PROBE = """[job]
steps = 5
[model]
name = "mlp"
features = 512
hidden = [512, 512]
classes = 10
[precision]
compute = "{precision}"
[data]
format = "synthetic"
samples = {samples}
validation = 0.0
[batch]
size = {samples}
shards = {shards}
"""
SINK = f"""
import socket
server = socket.create_server(("", {PORT}))
print("ready", flush=True)
link, _ = server.accept()
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range({TURNS}):
    link.recv(1)
    link.sendall(b"x")
left = {STREAM_BYTES}
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
link.sendall(bytes({STREAM_BYTES}))
link.recv(1)
print(json.dumps([statistics.median(ways), {STREAM_BYTES} / (time.perf_counter() - begin)]))
"""


def python_on(group, host, code, *arguments):
    return subprocess.Popen(["ip", "netns", "exec", group.names[host], sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def stream(group):
    """(latency, bytes a second) of the link between the first two hosts, with both directions at once as in an exchange."""
    sinks = [python_on(group, host, SINK) for host in (0, 1)]
    try:
        for sink in sinks:
            sink.stdout.readline()
        sources = [python_on(group, host, SOURCE, f"10.99.0.{2 - host}") for host in (0, 1)]
        found = [json.loads(source.communicate()[0]) for source in sources]
        return max(way for way, _ in found), min(rate for _, rate in found)
    finally:
        for sink in sinks:
            sink.kill()
            sink.wait()


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
    passes = report["phases_ms"]["forward"] + report["phases_ms"]["backward"]
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
        precision = tomllib.loads(pathlib.Path(job).read_text()).get("precision", {}).get("compute", "f32")
        if (precision, count) not in self.found:
            probe = self.folder / f"probe-{precision}-{count}.toml"
            probe.write_text(PROBE.format(precision=precision, samples=256 * count, shards=count))
            self.found[precision, count] = most_resident(bench(probe, 1, prefix)) - planned_bytes(predict(probe, count, ANY_RATES, None))
        return self.found[precision, count]


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
        programs = Programs(folder)
        for job in chosen.jobs:
            for count in map(int, chosen.hosts.split(",")):
                rates = rates_of_workers(job, chosen.seconds, count)
                for rate in chosen.rates.split(",") if count > 1 else [None]:
                    print("| " + " | ".join(row(job, count, rate, rates, chosen.seconds, programs, folder)) + " |", flush=True)


if __name__ == "__main__":
    main()
