"""From one initial state, 20 steps of PyTorch give the losses and the weights that Ballast gives, in f32.

The initial state is what Ballast exports: weights.h5, read with h5py, after a step with a learning rate of nearly nothing.
"""
import pathlib
import random
import struct
import sys
import unittest

import jobs

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks"))
try:
    import h5py
    import torch
    import torch_models
    MISSING = ""
except ImportError as error:
    MISSING = f"{error} (packages python3-torch and python3-h5py)"

STEPS, BATCH, SHARDS = 20, 8, 4
TOLERANCE = 1e-4  # relative, of every loss


def decaying_first(model):
    """Weight decay acts on matrices and filters only."""
    return [[p for p in model.parameters() if p.dim() >= 2], [p for p in model.parameters() if p.dim() < 2]]


@unittest.skipIf(MISSING, MISSING)
class TestTorchParity(jobs.SystemTest):
    def sections(self, model, data, optimizer):
        return {"job": {"seed": 3, "steps": STEPS}, "model": model, "data": {**data, "shuffle": False, "validation": 0.0},
                "batch": {"size": BATCH, "shards": SHARDS}, "optimizer": optimizer, "log": {"every": 1, "progress": "none"}}

    def weights(self, job):
        with h5py.File(job.checkpoints()[-1] / "weights.h5") as file:
            return {name: torch.from_numpy(file[name][...]) for name in file}

    def ballast(self, sections):
        """(initial weights, losses, final weights)"""
        initial = jobs.RunFolder(self.folder / "initial", sections)
        initial.train("job.steps=1", "optimizer.lr=1e-30")
        job = jobs.RunFolder(self.folder / "job", sections)
        job.train(workers=2)
        return self.weights(initial), [float(loss) for _step, loss in job.losses()], self.weights(job)

    def load(self, model, weights):
        """Fills PyTorch's parameters and returns them by name. Running statistics start as they do in PyTorch."""
        found = dict(model.named_parameters())
        trained = {name: values for name, values in weights.items() if "running" not in name}
        self.assertEqual(sorted(found), sorted(trained))
        with torch.no_grad():
            for name, parameter in found.items():
                self.assertEqual(list(parameter.shape), list(trained[name].shape), name)
                parameter.copy_(trained[name])
        return found

    def follow(self, found, optimizer, clip, loss_of_shard, expected_losses, expected_weights):
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = sum(loss_of_shard(step, shard) for shard in range(SHARDS)) / SHARDS
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(found.values(), clip)
            optimizer.step()
            self.assertLess(abs(loss.item() - expected_losses[step]) / abs(expected_losses[step]), TOLERANCE, f"step {step + 1}")
        for name, parameter in found.items():
            difference = (parameter - expected_weights[name]).norm() / (expected_weights[name].norm() + 1e-6)
            self.assertLess(difference.item(), 1e-2, name)

    def test_gpt(self):
        context, vocabulary = 16, 64
        choose = random.Random(7)
        tokens = [choose.randrange(vocabulary)]
        while len(tokens) < BATCH * STEPS * context + 1:  # a sequence with something to learn
            tokens.append((5 * tokens[-1] + 3) % vocabulary if choose.random() < 0.8 else choose.randrange(vocabulary))
        path = self.folder / "tokens.bin"
        path.write_bytes(struct.pack(f"<{len(tokens)}H", *tokens))
        sizes = {"layers": 2, "heads": 2, "width": 32, "context": context, "vocabulary": vocabulary}
        initial, losses, final = self.ballast(self.sections(
            {"name": "gpt", **sizes}, {"format": "tokens", "train": str(path)},
            {"name": "adamw", "lr": 3e-3, "weight_decay": 0.1, "betas": [0.9, 0.95], "clip": 1.0}))
        model = torch_models.Gpt(**sizes)
        found = self.load(model, initial)
        matrices, vectors = decaying_first(model)
        optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                                      lr=3e-3, betas=(0.9, 0.95), eps=1e-8)
        windows = torch.tensor(tokens[:-1]).view(-1, context), torch.tensor(tokens[1:]).view(-1, context)

        def loss_of_shard(step, shard):
            rows = slice(step * BATCH + shard * BATCH // SHARDS, step * BATCH + (shard + 1) * BATCH // SHARDS)
            return model(windows[0][rows], windows[1][rows])

        self.follow(found, optimizer, 1.0, loss_of_shard, losses, final)

    def test_convnet(self):
        rows = columns = 12
        choose = random.Random(8)
        labels = [choose.randrange(10) for _ in range(BATCH * STEPS)]
        pixels = [min(255, max(0, int(choose.gauss(128 + 12 * (label - 5) * ((y // 4 + x // 4) % 2), 40))))
                  for label in labels for y in range(rows) for x in range(columns)]
        images_path, labels_path = self.folder / "images", self.folder / "labels"
        images_path.write_bytes(struct.pack(">4I", 0x803, len(labels), rows, columns) + bytes(pixels))
        labels_path.write_bytes(struct.pack(">2I", 0x801, len(labels)) + bytes(labels))
        sizes = {"channels": [8, 12, 16], "depth": 1, "classes": 10, "image_channels": 1}
        initial, losses, final = self.ballast(self.sections(
            {"name": "convnet", "image_rows": rows, "image_columns": columns, **sizes},
            {"format": "idx", "train": str(images_path), "train_labels": str(labels_path)},
            {"name": "sgd", "lr": 0.02, "momentum": 0.9, "l2": 1e-3}))
        model = torch_models.Convnet(**sizes)
        found = self.load(model, initial)
        matrices, vectors = decaying_first(model)
        optimizer = torch.optim.SGD([{"params": matrices, "weight_decay": 1e-3}, {"params": vectors, "weight_decay": 0.0}],
                                    lr=0.02, momentum=0.9)
        x_BCYX = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, rows, columns) / 127.5 - 1

        def loss_of_shard(step, shard):  # batch norm's statistics are a shard's
            part = slice(step * BATCH + shard * BATCH // SHARDS, step * BATCH + (shard + 1) * BATCH // SHARDS)
            return model(x_BCYX[part], torch.tensor(labels)[part])

        self.follow(found, optimizer, 0.0, loss_of_shard, losses, final)


if __name__ == "__main__":
    jobs.main()
