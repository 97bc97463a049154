#!/usr/bin/env python3
"""One report of a machine with GPUs: what is there, whether the tests pass on it, and how fast Ballast trains.

gpu_report.sh builds Ballast and runs this. Writes Markdown to --out; a part that fails says why and the others go on, and the
exit code is then 1. Every figure is of this run. `share of matmul` is over what a large product reached on the same GPUs in the same run.
"""
import argparse
import datetime
import pathlib
import subprocess
import sys

import ballast_side
from ballast_side import ROOT, RunFailed, ballast_json
from compared_jobs import GPT_SMALL, RESNET20, Work, gpt2

GPT2_774M = {**gpt2(1024), "layers": 36, "heads": 20, "width": 1280}
WORKS = (
    Work("GPT-2 124M, context 1024, batch 16 a GPU, bf16", gpt2(1024), 16, "bf16"),
    Work("GPT-2 774M, context 1024, batch 4 a GPU, bf16", GPT2_774M, 4, "bf16"),
    Work("GPT-2 124M, context 1024, batch 8 a GPU, f32", gpt2(1024), 8, "f32"),
    Work("resnet20, batch 512 a GPU, f32", RESNET20, 512, "f32"),
)
QUICK_WORKS = (Work("gpt of 2 layers, f32", {**GPT_SMALL, "layers": 2, "heads": 2, "width": 16, "context": 8}, 2, "f32"),)


class Report:
    """Markdown that grows part by part."""

    def __init__(self, options):
        self.options, self.lines, self.failures = options, [], 0

    def part(self, title, make):
        print(f"{title} ...", file=sys.stderr, flush=True)
        self.lines += ["", f"## {title}", ""]
        try:
            self.lines += make(self.options)
        except (RunFailed, subprocess.TimeoutExpired, KeyError, ValueError) as error:
            self.failures += 1
            self.lines.append(f"Failed: {type(error).__name__}: {error}")
        self.options.out.write_text("\n".join(self.lines) + "\n")


def fenced(text):
    return ["```", *text.strip().splitlines(), "```"]


def table(header, rows):
    return [f"| {' | '.join(header)} |", "|" + "---|" * len(header), *(f"| {' | '.join(row)} |" for row in rows)]


def bench(options, name, *arguments, workers=None, seconds=None):
    workers = workers or options.gpus
    seconds = options.seconds if seconds is None else seconds
    return ballast_json(["bench", name, *arguments, "--backend", "cuda", "--seconds", seconds], workers)


def machine(options):
    command = [*ballast_side.mpirun(options.gpus), str(ballast_side.PROGRAM), "doctor"]
    done = subprocess.run(command, text=True, capture_output=True, env=ballast_side.variables(), timeout=300)
    if done.returncode:
        raise RunFailed(ballast_side.last_lines(done.stderr))
    return fenced(done.stdout)


def tests(options):
    done = subprocess.run(["ctest", "--preset", options.preset], text=True, capture_output=True, cwd=ROOT, timeout=3600)
    summary = done.stdout[done.stdout.rfind("tests passed") - 30:] if "tests passed" in done.stdout else done.stdout[-2000:]
    if done.returncode:
        raise RunFailed(f"ctest --preset {options.preset} ended with {done.returncode}:\n\n" + "\n".join(fenced(summary)))
    return fenced(summary)


def training(options):
    rows = []
    for work in QUICK_WORKS if options.quick else WORKS:
        alone = None
        for gpus in sorted({1, options.gpus}):
            sized = Work(work.title, work.model, work.batch * gpus, work.precision)
            with ballast_side.job_file(sized, gpus) as job:
                found = bench(options, "step", job, workers=gpus)
            speed = found["items_per_second"]
            alone = alone or speed
            share = found["flops"] / (found["step_ms"]["median"] / 1e3) / (gpus * found["roof"]["matmul_flops_per_second"])
            rows.append([work.title, str(gpus), f"{speed:,.0f} {found['item']}/s", f"{found['step_ms']['median']:.1f}",
                         f"{share:.0%}", f"{found['roof_share']:.0%}", f"{speed / alone / gpus:.0%}"])
    return table(("work", "GPUs", "speed", "step, ms", "share of matmul", "share of the roof", "scaling"), rows)


def products(options):
    arguments = ["--shapes", "64x32x16"] if options.quick else []
    found = bench(options, "gemm", *arguments, workers=1)
    return table(("m x n x k", "product", "precision", "TFLOP/s"),
                 [[f"{row['m']} x {row['n']} x {row['k']}", row["product"], row["precision"],
                   f"{row['flops_per_second']['sum'] / 1e12:.2f}"] for row in found["rows"]])


def reduction(options):
    found = bench(options, "collective", "--sizes", "32K" if options.quick else "32K,1M,16M,256M,gpt2")
    return table(("bytes", "ms", "bus bandwidth, GB/s"),
                 [[f"{row['bytes']:,}", f"{1e3 * row['ballast']['seconds']:.3f}", f"{row['ballast']['bus_bandwidth'] / 1e9:.1f}"]
                  for row in found["rows"]])


def checkpoints(options):
    work = (QUICK_WORKS if options.quick else WORKS)[0]
    with ballast_side.job_file(work, options.gpus) as job:
        found = bench(options, "checkpoint", job)
    return table(("what", "s", "GB/s"), [[what, f"{found[what]['seconds']:.3f}", f"{found[what]['bytes_per_second'] / 1e9:.2f}"]
                                         for what in ("write", "stall", "read")])


def parse():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gpus", type=int, required=True, help="workers, one a GPU")
    arguments.add_argument("--seconds", type=float, default=10, help="of measured work in each run, about")
    arguments.add_argument("--preset", default="cuda-device", help="ctest preset of the tests")
    arguments.add_argument("--quick", action="store_true", help="tiny models only: to try the report itself")
    arguments.add_argument("--out", type=pathlib.Path, default=ROOT / "build/gpu_report.md")
    return arguments.parse_args()


def main():
    options = parse()
    report = Report(options)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], text=True, capture_output=True, cwd=ROOT).stdout.strip()
    report.lines = [f"# Ballast {commit or ''} on GPUs, {datetime.date.today().isoformat()}"]
    report.part("Machine", machine)
    report.part("Tests on the device", tests)
    report.part("Training", training)
    report.part("Products", products)
    report.part("Reduction, clipping and AdamW", reduction)
    report.part("Checkpoints", checkpoints)
    print(options.out)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
