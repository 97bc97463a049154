#!/usr/bin/env python3
"""Ballast against PyTorch's DistributedDataParallel on the same work, taking turns on this machine. Prints a table of ratios.

benchmarks/compare_with_torch.py [--workers 2] [--rounds 3] [--seconds 8] [--models gpt convnet mlp] [--precisions f32 bf16]
Needs a PyTorch for the Python that runs it (Debian: python3-torch), and mpirun. One thread a worker. Items are tokens for gpt, else samples.
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
JOBS = {
    "gpt": {"model": {"name": "gpt", "layers": 6, "heads": 6, "width": 384, "context": 128, "vocabulary": 256}, "batch": 16},
    "convnet": {"model": {"name": "convnet", "image_rows": 28, "image_columns": 28, "image_channels": 1, "channels": [16, 32, 64],
                          "depth": 3, "classes": 10}, "batch": 128},
    "mlp": {"model": {"name": "mlp", "features": 784, "hidden": [1024, 1024], "classes": 10}, "batch": 256},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torch_speed(job, bf16, workers, steps):
    work = json.dumps({**job, "bf16": bf16, "threads": 1, "warm": 3, "steps": steps})
    variables = dict(os.environ, WORLD_SIZE=str(workers), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    processes = [subprocess.Popen([sys.executable, str(ROOT / "benchmarks/torch_peer.py"), work], text=True, stdout=subprocess.PIPE,
                                  env={**variables, "RANK": str(rank)}) for rank in range(workers)]
    try:
        texts = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        sys.exit("the PyTorch peer failed")
    return json.loads(texts[0])


def ballast_speed(program, job, bf16, workers, steps):
    with tempfile.TemporaryDirectory(prefix="ballast-benchmark-") as folder:
        sections = {
            "job": {"dir": folder, "steps": steps + 3}, "model": job["model"],
            "data": {"format": "synthetic", "samples": 40 * job["batch"], "validation": 0.0},
            "batch": {"size": job["batch"], "shards": workers},
            "optimizer": {"name": "adamw", "lr": 3e-4, "weight_decay": 0.1, "clip": 1.0},
            "precision": {"compute": "bf16" if bf16 else "f32"}, "compute": {"threads": 1},
            "log": {"every": 1, "statistics": 1000000, "progress": "none"},
        }
        text = "".join(f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
                       for name, keys in sections.items())
        path = pathlib.Path(folder) / "job.toml"
        path.write_text(text)
        variables = dict(os.environ)
        if os.getuid() == 0:
            variables.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        subprocess.run(["mpirun", "-n", str(workers), "--bind-to", "core" if workers <= os.cpu_count() else "none", program, "train", path],
                       check=True, env=variables, stdout=subprocess.DEVNULL, timeout=600)
        lines = [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]
    speeds = [line.get("tokens_per_second", line.get("samples_per_second")) for line in lines if line["event"] == "step"]
    return statistics.median(speeds[3:])


def compare(options, name, bf16):
    job, ballast, peer = JOBS[name], [], []
    steps = 10
    for round_number in range(options.rounds):
        found = torch_speed(job, bf16, options.workers, steps)
        peer.append(found["items_per_second"])
        if round_number == 0:  # the first round also tells how many steps fill the time
            steps = max(10, int(1e3 * options.seconds / found["milliseconds"]["step"]))
            peer = [torch_speed(job, bf16, options.workers, steps)["items_per_second"]]
        ballast.append(ballast_speed(options.program, job, bf16, options.workers, steps))
    ratios = [ours / theirs for ours, theirs in zip(ballast, peer)]
    print(f"| {name} | {'bf16' if bf16 else 'f32'} | {statistics.median(ballast):,.0f} | {statistics.median(peer):,.0f} | "
          f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f}) |", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default=str(ROOT / "build/bin/ballast"))
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=8, help="of each measured run, about")
    arguments.add_argument("--models", nargs="+", default=list(JOBS), choices=list(JOBS))
    arguments.add_argument("--precisions", nargs="+", default=["f32", "bf16"], choices=["f32", "bf16"])
    options = arguments.parse_args()
    print(f"{options.workers} workers with one thread each; items a second, medians of {options.rounds} rounds; ratio median (range)\n")
    print("| model | precision | Ballast | PyTorch | ratio |\n|---|---|---|---|---|")
    for name in options.models:
        for precision in options.precisions:
            compare(options, name, precision == "bf16")


if __name__ == "__main__":
    main()
