#!/usr/bin/env python3
"""One worker of a PyTorch data-parallel training (gloo) on made-up data: the peer of compare_with_torch.py.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29511 torch_peer.py '{"model": "gpt", ...}'
Prints one JSON line: items a second and milliseconds of the parts of a step, medians over the measured steps.
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

job = json.loads(sys.argv[1])
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
sizes = job["model"]
torch.set_num_threads(job["threads"])
if world > 1:
    os.sched_setaffinity(0, {rank % os.cpu_count()})
    torch.distributed.init_process_group("gloo")
torch.manual_seed(1)
if sizes["name"] == "gpt":
    model = torch_models.Gpt(sizes["layers"], sizes["heads"], sizes["width"], sizes["context"], sizes["vocabulary"])
elif sizes["name"] == "convnet":
    model = torch_models.Convnet(sizes["image_channels"], sizes["channels"], sizes["depth"], sizes["classes"])
else:
    model = torch_models.Mlp(sizes["features"], sizes["hidden"], sizes["classes"])
batch = job["batch"] // world


def samples():
    if sizes["name"] == "gpt":
        tokens = torch.randint(0, sizes["vocabulary"], (batch, sizes["context"] + 1))
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    shape = (sizes["features"],) if sizes["name"] == "mlp" else (
        sizes["image_channels"], sizes["image_rows"], sizes["image_columns"])
    return torch.randn(batch, *shape), torch.randint(0, sizes["classes"], (batch,))


network = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True) if world > 1 else model
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, foreach=True)
parts = {"forward": [], "backward": [], "update": [], "step": []}
for step in range(job["warm"] + job["steps"]):
    x, y = samples()
    if world > 1:
        torch.distributed.barrier()
    times = [time.perf_counter()]
    with torch.autocast("cpu", dtype=torch.bfloat16) if job["bf16"] else contextlib.nullcontext():
        loss = network(x, y)
    times.append(time.perf_counter())
    loss.backward()
    times.append(time.perf_counter())
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=world == 1)
    times.append(time.perf_counter())
    if step >= job["warm"]:
        for name, seconds in zip(parts, (times[1] - times[0], times[2] - times[1], times[3] - times[2], times[3] - times[0])):
            parts[name].append(seconds)
items = batch * world * (sizes["context"] if sizes["name"] == "gpt" else 1)
if rank == 0:
    print(json.dumps({"torch": torch.__version__, "items_per_second": items / statistics.median(parts["step"]),
                      "milliseconds": {name: 1e3 * statistics.median(seconds) for name, seconds in parts.items()}}))
