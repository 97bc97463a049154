#!/usr/bin/env python3
"""One worker of a PyTorch training on made-up data: the peer of compare_with_pytorch.py. Runs under PyTorch 1.13 and 2.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29511 torch_peer.py '{"model": {...}, "batch": 12, "precision": "f32",
    "optimizer": {...}, "threads": 1, "compile": false, "seconds": 8}'
Prints `first step` after the first step, then one JSON line with what every worker has found. With one worker there is no gloo.
Data are made, and workers wait for each other, outside the clock. `seconds` is the length of the measured steps, 0 for none.
"""
import contextlib
import json
import os
import statistics
import sys
import time

import torch
import torch.distributed
import torch.nn as nn

import torch_models

WARM_STEPS = 3


def make_model(sizes):
    if sizes["name"] == "gpt":
        return torch_models.Gpt(sizes["layers"], sizes["heads"], sizes["width"], sizes["context"], sizes["vocabulary"])
    if sizes["name"] == "convnet":
        return torch_models.Convnet(sizes["image_channels"], sizes["channels"], sizes["depth"], sizes["classes"])
    return torch_models.Mlp(sizes["features"], sizes["hidden"], sizes["classes"])


def make_samples(sizes, count):
    if sizes["name"] == "gpt":
        tokens = torch.randint(0, sizes["vocabulary"], (count, sizes["context"] + 1))
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    shape = (sizes["features"],) if sizes["name"] == "mlp" else (
        sizes["image_channels"], sizes["image_rows"], sizes["image_columns"])
    return torch.randn(count, *shape), torch.randint(0, sizes["classes"], (count,))


def make_optimizer(model, numbers):
    """AdamW, decaying matrices and filters only, as Ballast does; one fused pass where this PyTorch has it for the CPU."""
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": numbers["weight_decay"]},
              {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]
    options = {"lr": numbers["lr"], "betas": tuple(numbers["betas"]), "eps": numbers["epsilon"]}
    try:
        return torch.optim.AdamW(groups, fused=True, **options), "fused"
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(groups, foreach=True, **options), "foreach"


def memory_kib(path, key):
    with open(path) as file:
        return next((int(line.split()[1]) for line in file if line.startswith(key)), 0)


class Peer:
    def __init__(self, job, rank, world):
        self.job, self.world = job, world
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]} if world > 1 else set(cores[:job["threads"]]))
        torch.set_num_threads(job["threads"])
        if world > 1:
            torch.distributed.init_process_group("gloo")
        torch.manual_seed(1)
        self.model = self.network = make_model(job["model"])
        if world > 1:
            self.network = nn.parallel.DistributedDataParallel(self.model, gradient_as_bucket_view=True, broadcast_buffers=False)
        if job["compile"]:
            self.network = torch.compile(self.network)
        self.optimizer, self.update = make_optimizer(self.model, job["optimizer"])

    def step(self):
        """Seconds of forward, backward, update."""
        x, y = make_samples(self.job["model"], self.job["batch"] // self.world)
        if self.world > 1:
            torch.distributed.barrier()
        times = [time.perf_counter()]
        bf16 = self.job["precision"] == "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = self.network(x, y)
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        nn.utils.clip_grad_norm_(self.model.parameters(), self.job["optimizer"]["clip"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter())
        return [after - before for before, after in zip(times, times[1:])]

    def run(self):
        """Seconds of the measured steps; every worker makes as many as rank 0 has time for."""
        for _ in range(WARM_STEPS - 1):
            self.step()
        count = torch.tensor([min(max(int(self.job["seconds"] / sum(self.step())), 3), 10000)])
        if self.world > 1:
            torch.distributed.broadcast(count, 0)
        return [self.step() for _ in range(int(count))]


def main():
    job, rank, world = json.loads(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    peer = Peer(job, rank, world)
    peer.step()
    print("first step", flush=True)
    if job["seconds"] == 0:
        return
    steps = peer.run()
    step = statistics.median(sum(parts) for parts in steps)
    items = peer.job["batch"] // world * world * job["model"].get("context", 1)
    phases = {name: 1e3 * statistics.median(parts) for name, parts in zip(("forward", "backward", "update"), zip(*steps))}
    print(json.dumps({
        "torch": torch.__version__, "steps": len(steps), "items_per_second": items / step, "step_ms": 1e3 * step, "phases_ms": phases,
        "optimizer": peer.update, "peak_bytes": 1024 * memory_kib("/proc/self/status", "VmHWM:"),
        "pss_bytes": 1024 * memory_kib("/proc/self/smaps_rollup", "Pss:"),
    }), flush=True)
    if world > 1:
        torch.distributed.barrier()  # nobody's memory of shared pages is read after another worker has gone


if __name__ == "__main__":
    main()
