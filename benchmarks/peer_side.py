"""Runs PyTorch (torch_peer.py) in each of the ways that a user may choose between."""
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

from ballast_side import LONGEST, RunFailed, last_lines
from compared_jobs import OPTIMIZER

PEER = pathlib.Path(__file__).with_name("torch_peer.py")
# Huge pages, and memory kept for the next step instead of given back to the system and cleared again.
TUNED = ("glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:"
         "glibc.malloc.top_pad=67108864")


@dataclasses.dataclass(frozen=True)
class Way:
    workers: int
    tuned: bool
    compiled: bool

    @property
    def name(self):
        words = [f"{self.workers} workers" if self.workers > 1 else "1 process, 2 threads"]
        return ", ".join(words + ["tuned memory"] * self.tuned + ["compiled"] * self.compiled)


def all_ways(compiled=True):
    return [Way(workers, tuned, c) for c in ((False, True) if compiled else (False,)) for workers in (2, 1) for tuned in (False, True)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Workers:
    """The processes of one run; leaving the context ends them. Output goes to files, so nobody waits for a reader."""

    def __init__(self, python, work, way, seconds):
        text = json.dumps({"model": work.model, "batch": work.batch, "precision": work.precision, "optimizer": OPTIMIZER,
                           "threads": 2 if way.workers == 1 else 1, "compile": way.compiled, "seconds": seconds})
        variables = dict(os.environ, WORLD_SIZE=str(way.workers), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()),
                         OMP_NUM_THREADS=str(2 if way.workers == 1 else 1), **({"GLIBC_TUNABLES": TUNED} if way.tuned else {}))
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ballast/compiled"
        variables.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
        self.name = way.name
        self.outputs = [tempfile.TemporaryFile("w+") for _ in range(way.workers)]
        self.errors = [tempfile.TemporaryFile("w+") for _ in range(way.workers)]
        self.processes = [subprocess.Popen([python, str(PEER), text], env={**variables, "RANK": str(rank)}, stdin=subprocess.DEVNULL,
                                           stdout=self.outputs[rank], stderr=self.errors[rank]) for rank in range(way.workers)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        for file in self.outputs + self.errors:
            file.close()

    @staticmethod
    def text(file):
        file.seek(0)
        return file.read()

    def wait(self, is_done, pause):
        """Until `is_done`; the first worker that fails ends the run."""
        deadline = time.monotonic() + LONGEST
        while not is_done():
            for rank, process in enumerate(self.processes):
                if process.poll():
                    raise RunFailed(f"{self.name}: worker {rank} ended with {process.returncode}: {last_lines(self.text(self.errors[rank]), 4)}")
            if time.monotonic() > deadline:
                raise RunFailed(f"{self.name}: no end after {LONGEST} s")
            time.sleep(pause)

    def results(self):
        self.wait(lambda: all(process.poll() == 0 for process in self.processes), 0.2)
        return [json.loads(self.text(file).splitlines()[-1]) for file in self.outputs]


def peer_run(python, work, way, seconds):
    """What rank 0 found, with the memory of all workers: `peak_bytes` and `pss_bytes` are sums."""
    with Workers(python, work, way, seconds) as workers:
        results = workers.results()
    return {**results[0], **{key: sum(result[key] for result in results) for key in ("peak_bytes", "pss_bytes")}}


def seconds_to_first_step(python, work, way):
    began = time.perf_counter()
    with Workers(python, work, way, 0) as workers:
        workers.wait(lambda: "first step" in workers.text(workers.outputs[0]), 0.01)
        return time.perf_counter() - began


def torch_version(python):
    done = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], text=True, capture_output=True)
    if done.returncode:
        raise RunFailed(f"{python} has no torch: {last_lines(done.stderr)}")
    return done.stdout.strip()
