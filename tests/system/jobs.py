"""Runs the `ballast` program as a user does: writes job files, starts workers, reads what they leave behind.

Every process that is started here is ended here, and a run that does not end in time is a failed test, never a hang.
Environment: BALLAST names the program. Tests are skipped with exit code 77 and a reason that is printed.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BALLAST = os.environ.get("BALLAST", "build/bin/ballast")
SKIPPED = 77

# Small enough that a run lasts well under a second, large enough that every operation and several blocks take part.
MODELS = {
    "mlp": {"name": "mlp", "features": 64, "hidden": [48, 32], "classes": 10, "dropout": 0.1},
    "convnet": {"name": "convnet", "image_rows": 12, "image_columns": 12, "image_channels": 2, "channels": [8, 12, 16],
                "depth": 1, "classes": 10},
    "gpt": {"name": "gpt", "layers": 2, "heads": 2, "width": 32, "context": 16, "vocabulary": 64, "dropout": 0.1},
}


def environment():
    """More workers than cores, root in containers, and no interface but the loopback."""
    variables = dict(os.environ, OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_hwloc_base_binding_policy="none",
                     OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
    if os.getuid() == 0:
        variables.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return variables


def toml(sections):
    """The text of a job file from {section: {key: value}}."""
    lines = []
    for section, keys in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def small_job(model, precision="f32", steps=7):
    """4 shards; 44 samples in batches of 16, so the third step is short and leaves a shard without a sample."""
    return {
        "job": {"seed": 5, "steps": steps},
        "model": dict(MODELS[model]),
        "data": {"format": "synthetic", "samples": 48, "validation": 0.08},
        "batch": {"size": 16, "shards": 4},
        "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1, "clip": 1.0},
        "schedule": {"name": "cosine", "warmup": 2},
        "precision": {"compute": precision},
        "log": {"every": 1, "progress": "none"},
    }


class Result:
    def __init__(self, code, out, err, seconds, leftovers):
        self.code, self.out, self.err, self.seconds, self.leftovers = code, out, err, seconds, leftovers

    def ballast_lines(self):
        """What the program itself said on stderr; mpirun's own words are left out."""
        return [line for line in self.err.splitlines() if line.startswith("ballast: ")]

    def __str__(self):
        return f"exit code {self.code} after {self.seconds:.1f} s\n--- stdout\n{self.out[-3000:]}\n--- stderr\n{self.err[-3000:]}"


def processes_of(session):
    """Live processes of a session: mpirun and its workers stay in the one they were started in."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name, fields = re.fullmatch(r"\d+ \((.*)\) (.*)", (entry / "stat").read_text().strip(), re.S).groups()
        except (OSError, AttributeError):
            continue
        state, _parent, _group, its_session = fields.split()[:4]
        if int(its_session) == session and state != "Z":
            found.append((int(entry.name), name))
    return found


class Job:
    """A running `ballast` command in a session of its own."""

    def __init__(self, arguments, workers=0, prefix=(), variables=None):
        """`workers` 0: without mpirun. `prefix` replaces the mpirun command."""
        command = list(prefix)
        if not command and workers:
            command = ["mpirun", "-n", str(workers)]
        self.files = [tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command + [BALLAST, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=self.files[0],
                                        stderr=self.files[1], env={**environment(), **(variables or {})}, start_new_session=True)

    def workers(self):
        return [pid for pid, name in processes_of(self.process.pid) if name == "ballast"]

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=60):
        """Fails on a hang. Processes that outlive the command are ended and named in Result.leftovers."""
        try:
            code, hung = self.process.wait(timeout), False
        except subprocess.TimeoutExpired:
            code, hung = None, True
        seconds = time.monotonic() - self.started
        if hung:
            self.process.terminate()  # lets mpirun tidy up
        leftovers = self._end_processes(grace=5 if hung else 2)
        texts = []
        for file in self.files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        result = Result(code, *texts, seconds, leftovers)
        if hung:
            raise AssertionError(f"no end within {timeout} s: {self.process.args}\n{result}")
        return result

    def _end_processes(self, grace):
        deadline = time.monotonic() + grace
        while (left := processes_of(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid, _name in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process.poll() is None:
            self.process.wait()
        return left


class RunFolder:
    """A job file and the run folder it fills."""

    def __init__(self, folder, sections):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.job_file = self.folder / "job.toml"
        self.dir = self.folder / "run"
        self.write(sections)

    def write(self, sections):
        self.sections = {section: dict(keys) for section, keys in sections.items()}
        self.sections["job"]["dir"] = str(self.dir)
        self.job_file.write_text(toml(self.sections))

    def start(self, *overrides, workers=0, prefix=(), variables=None):
        return Job(["train", self.job_file, *overrides], workers, prefix, variables)

    def train(self, *overrides, workers=0, expect=0, timeout=60, prefix=(), variables=None):
        result = self.start(*overrides, workers=workers, prefix=prefix, variables=variables).wait(timeout)
        if expect is not None and result.code != expect:
            raise AssertionError(f"expected exit code {expect}: {result}")
        return result

    def metrics(self):
        """The lines of metrics.jsonl. Numbers stay text, so that equal means equal to the last bit."""
        path = self.dir / "metrics.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line, parse_float=str) for line in lines if line]

    def losses(self):
        return [(line["step"], line["loss"]) for line in self.metrics() if line["event"] == "step"]

    def last_step(self):
        try:
            return max((step for step, _loss in self.losses()), default=0)
        except (OSError, ValueError):
            return 0

    def checkpoints(self):
        return sorted((self.dir / "checkpoints").glob("step-*"))

    def digest(self):
        verified = json_of("verify", self.dir)
        if verified["ok"] is not True:
            raise AssertionError(f"verify: {verified}")
        return verified["digest"]


def run(*arguments, workers=0, timeout=60, variables=None):
    return Job(arguments, workers, variables=variables).wait(timeout)


def json_of(*arguments):
    """What a reporting command says with --json."""
    result = run(*arguments, "--json")
    if result.code != 0:
        raise AssertionError(str(result))
    return json.loads(result.out)


def wait_for(condition, seconds=30, what="the condition"):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds} s")
        time.sleep(0.005)


class SystemTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="ballast-test-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)


def main():
    """unittest, with exit code 77 when nothing ran."""
    program = unittest.main(module="__main__", verbosity=2, exit=False)
    result = program.result
    for test, reason in result.skipped:
        print(f"skipped: {test}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.skipped and len(result.skipped) == result.testsRun else 0)
