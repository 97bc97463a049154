#!/usr/bin/env python3
"""Steps of a job on several hosts with slow links, against what the links and the processors allow. Needs root: the hosts are network namespaces.

slow_network.py [--hosts 4] [--rate 1gbit] [--delay-ms 0] [--batch 64] [--rounds 3] [--steps 12] [--peer PYTHON] [JOB key=value ...]

Three measurements, again in every round, because a shared machine changes its speed: the network alone (`ballast bench network`, the best of its patterns); the job's workers
on one host, where nothing is sent (compute); the job on the hosts. Medians over the rounds. The bound of a step is the larger of compute and of 2 (K - 1) / K times the
gradient's bytes at the measured rate. Without a job: `gpt` with 10.8 million weights, 256 tokens for each of the batch, one worker of one thread on each host.

--peer: PyTorch's DistributedDataParallel over gloo on the same hosts, by the interpreter named, on the same model, batch and precision (without a job only).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "system"))
import compared_jobs  # noqa: E402
import hosts  # noqa: E402
import jobs  # noqa: E402
import peer_side  # noqa: E402

BALLAST = os.environ.get("BALLAST", str(ROOT / "build/bin/ballast"))
GPT = {
    "job": {"seed": 1},
    "model": {"name": "gpt", "layers": 6, "heads": 6, "width": 384, "context": 256, "vocabulary": 65},
    "data": {"format": "synthetic", "samples": 4096},
    "batch": {"size": 64, "shards": 4},
    "optimizer": {"name": "adamw", "lr": 0.001, "clip": 1.0},
    "precision": {"compute": "bf16"},
    "log": {"every": 1, "statistics": 100000, "progress": "none"},
}


def output_of(command):
    result = subprocess.run([*map(str, command)], env=jobs.environment(), capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{command}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout


def steps_seconds(prefix, job, steps, overrides, folder):
    """Of each step but the first two."""
    output_of([*prefix, BALLAST, "train", job, f"job.dir={folder}", f"job.steps={steps}", "compute.threads=1", *overrides])
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    ends = [event["seconds"] for event in events if event["event"] == "step"]
    return [later - earlier for earlier, later in zip(ends[1:], ends[2:])]


def peer_step_seconds(python, group, job, seconds):
    """Of torch_peer.py, a process on each host."""
    work = {"model": job["model"], "batch": job["batch"]["size"], "precision": job["precision"]["compute"], "optimizer": compared_jobs.OPTIMIZER,
            "threads": 1, "compile": False, "seconds": seconds}
    variables = {"WORLD_SIZE": group.count, "MASTER_ADDR": "10.99.0.1", "MASTER_PORT": 29511, "GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": 1,
                 "GLIBC_TUNABLES": peer_side.TUNED, "PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    words = [f"{key}={value}" for key, value in variables.items()]
    command = [python, str(peer_side.PEER), json.dumps(work)]
    processes = [subprocess.Popen(["ip", "netns", "exec", group.names[rank], "env", *words, f"RANK={rank}", *command], stdout=subprocess.PIPE, text=True)
                 for rank in range(group.count)]
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        sys.exit(f"the peer failed: {outputs}")
    return max(json.loads(output.splitlines()[-1])["step_ms"] for output in outputs) / 1e3


def parser_of_hosts(description, count, rate, steps):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=count)
    parser.add_argument("--rate", default=rate)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--steps", type=int, default=steps)
    return parser


def main():
    parser = parser_of_hosts(__doc__, count=4, rate="1gbit", steps=12)
    parser.add_argument("--batch", type=int, default=64, help="samples a step, without a job")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of each round, for the network alone")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("job", nargs="*")
    options = parser.parse_args()
    if hosts.missing():
        sys.exit(hosts.missing())
    if options.peer and options.job:
        sys.exit("--peer knows the job only that runs without one")
    count = options.hosts
    work = {**GPT, "batch": {**GPT["batch"], "size": options.batch}}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        job = folder / "job.toml"
        job.write_text(jobs.toml(work) if not options.job else pathlib.Path(options.job[0]).read_text())
        overrides = [*options.job[1:], "checkpoint.every=0", "evaluate.batches=1"]
        plan = json.loads(output_of([BALLAST, "plan", job, "--json"]))
        alone, together, networks, peers, sent = [], [], [], [], []
        with hosts.Hosts(count, folder, options.rate, options.delay_ms) as group:
            mpirun = group.mpirun([1] * count)
            for turn in range(options.rounds):
                alone += steps_seconds(["mpirun", "-n", count], job, options.steps, overrides, folder / f"one-{turn}")
                networks.append(json.loads(output_of([*mpirun, BALLAST, "bench", "network", "--json", "--threads", 1, "--seconds", options.seconds])))
                before = group.bytes_sent()
                together += steps_seconds(mpirun, job, options.steps, overrides, folder / f"many-{turn}")
                sent.append(max(after - start for after, start in zip(group.bytes_sent(), before)) / options.steps)
                if options.peer:
                    peers.append(peer_step_seconds(options.peer, group, work, 10))
    gradient = 4 * plan["parameters"]
    compute, measured = statistics.median(alone), statistics.median(together)
    rate = statistics.median(network["bytes_per_second"] for network in networks)
    latency = statistics.median(network["latency_seconds"] for network in networks)
    wire = 2 * (count - 1) / count * gradient / rate
    bound = max(compute, wire)
    print(f"{count} hosts, {options.rate}, {options.delay_ms:g} ms: best pattern {rate * 8e-9:.3f} Gbit/s, latency {latency * 1e3:.2f} ms")
    print(f"gradient {gradient / 1e6:.1f} MB, at most {max(sent) / 1e6:.1f} MB left a host in a step (frames, start included)")
    print(f"compute {compute:.3f} s, 2 (K-1)/K of the gradient {wire:.3f} s, step {measured:.3f} s: {measured / bound:.2f} of the larger")
    if peers:
        peer = statistics.median(peers)
        print(f"peer over gloo: step {peer:.3f} s, {peer / measured:.2f} of ours")


if __name__ == "__main__":
    main()
