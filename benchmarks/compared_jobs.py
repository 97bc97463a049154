"""The work that benchmarks give to Ballast and to PyTorch: the same models, batches and optimizer, in each one's words."""
import dataclasses
import json

# No option may differ between the two sides.
OPTIMIZER = {"name": "adamw", "lr": 3e-4, "betas": [0.9, 0.95], "epsilon": 1e-8, "weight_decay": 0.1, "clip": 1.0}


def gpt2(context):
    return {"name": "gpt", "layers": 12, "heads": 12, "width": 768, "context": context, "vocabulary": 50304}


GPT_SMALL = {"name": "gpt", "layers": 6, "heads": 6, "width": 384, "context": 256, "vocabulary": 256}
MLP = {"name": "mlp", "features": 784, "hidden": [1024, 1024], "classes": 10}
RESNET20 = {"name": "convnet", "image_rows": 32, "image_columns": 32, "image_channels": 3, "channels": [16, 32, 64], "depth": 3,
            "classes": 10}


@dataclasses.dataclass(frozen=True)
class Work:
    """One model with a batch (samples per step, all workers together) and a precision (`f32` or `bf16`)."""
    title: str
    model: dict
    batch: int
    precision: str

    def job(self, folder, shards, steps=1000000, log=None, **model):
        """Text of a job file. `model` replaces keys of the model."""
        sections = {
            "job": {"dir": str(folder), "steps": steps},
            "model": {**self.model, **model},
            "data": {"format": "synthetic", "samples": max(40 * self.batch, 64), "validation": 0.0},
            "batch": {"size": self.batch, "shards": shards},
            "optimizer": OPTIMIZER,
            "precision": {"compute": self.precision},
            "compute": {"threads": 1},
            "log": log or {"progress": "none"},
        }
        return "".join(f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
                       for name, keys in sections.items())


WORKS = {
    "gpt2-bf16": Work("GPT-2 124M, context 256, batch 4, bf16, tokens/s", gpt2(256), 4, "bf16"),
    "gpt2-f32": Work("GPT-2 124M, context 256, batch 4, f32, tokens/s", gpt2(256), 4, "f32"),
    "gpt2-1024-bf16": Work("GPT-2 124M, context 1024, batch 2, bf16, tokens/s", gpt2(1024), 2, "bf16"),
    "gpt-small-bf16": Work("gpt small (6 x 384, context 256, batch 12), bf16, tokens/s", GPT_SMALL, 12, "bf16"),
    "gpt-small-f32": Work("gpt small (6 x 384, context 256, batch 12), f32, tokens/s", GPT_SMALL, 12, "f32"),
    "mlp-f32": Work("mlp 784-1024-1024-10, batch 256, f32, samples/s", MLP, 256, "f32"),
    "resnet20-f32": Work("resnet20 on 32x32x3, batch 64, f32, samples/s", RESNET20, 64, "f32"),
}
