"""Runs the `ballast` program as benchmarks need it: under mpirun, one thread a worker, every worker bound to a core of its own."""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "build/bin/ballast"
LONGEST = 1800  # seconds that one run may take


class RunFailed(Exception):
    """The message says which command, and what it wrote last."""


def cores():
    return sorted(os.sched_getaffinity(0))


def variables():
    """Without BALLAST_*: they are settings of a job."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.getuid() == 0 else {}
    return {**{name: text for name, text in os.environ.items() if not name.startswith("BALLAST_")}, **root}


def mpirun(workers):
    """Binding where there is a core for each worker. Terminated, it ends its workers at once."""
    place = ["--bind-to", "core"] if workers <= len(cores()) else ["--bind-to", "none", "--oversubscribe"]
    return ["mpirun", "-n", str(workers), *place, "--mca", "odls_base_sigkill_timeout", "0"]


def ballast_json(arguments, workers=1):
    """The object that `ballast ARGUMENTS --json` prints."""
    return json_from(mpirun(workers) if workers else [], arguments, variables())


def json_from(prefix, arguments, environment):
    """The same, started by `prefix`."""
    command = [*prefix, str(PROGRAM), *map(str, arguments), "--json"]
    done = subprocess.run(command, text=True, capture_output=True, env=environment, timeout=LONGEST)
    if done.returncode:
        raise RunFailed(f"{' '.join(command)}: exit code {done.returncode}: {last_lines(done.stderr)}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def last_lines(text, count=3):
    """What Ballast said where it said something, for mpirun adds lines after it; else the last lines."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return " / ".join([line for line in lines if line.startswith("ballast: ")][:count] or lines[-count:])


@contextlib.contextmanager
def job_file(work, shards, **options):
    """Path of a job file in a folder that lives as long as the context; the run folder is run/ beside it."""
    with tempfile.TemporaryDirectory(prefix="ballast-benchmark-") as folder:
        path = pathlib.Path(folder) / "job.toml"
        path.write_text(work.job(path.parent / "run", shards, **options))
        yield path


def bench_step(work, seconds, workers=2, shards=0, **model):
    """What docs/json.md says of `bench step`. As many shards as workers unless `shards` says otherwise."""
    with job_file(work, shards or workers, **model) as job:
        return ballast_json(["bench", "step", job, "--seconds", seconds], workers)


def plan(work, workers=2, shards=0, **model):
    with job_file(work, shards or workers, **model) as job:
        return ballast_json(["plan", job, "--workers", workers], workers=0)


def end(process):
    """Ends mpirun and with it its workers, and waits."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def seconds_to_first_step(work, workers=2):
    """From the start of mpirun until rank 0 has said that the first step is done."""
    log = {"every": 1, "progress": "lines"}
    with job_file(work, workers, log=log) as job:
        command = [*mpirun(workers), str(PROGRAM), "train", str(job)]
        began = time.perf_counter()
        process = subprocess.Popen(command, text=True, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            for line in process.stdout:
                if line.startswith("step 1/"):
                    return time.perf_counter() - began
            raise RunFailed(f"{' '.join(command)}: no first step")
        finally:
            end(process)


def training_times(work, log, last, workers=2):
    """{step: seconds since the start} in metrics.jsonl of a training with these keys of [log], ended after step `last`."""
    with job_file(work, workers, log=log) as job:
        command = [*mpirun(workers), str(PROGRAM), "train", str(job)]
        metrics, deadline = job.parent / "run/metrics.jsonl", time.monotonic() + LONGEST
        with (job.parent / "output").open("w+") as output:
            process = subprocess.Popen(command, env=variables(), stdout=output, stderr=subprocess.STDOUT)
            try:
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.2)
                    times = step_times(metrics)
                    if last in times:
                        return times
                output.seek(0)
                raise RunFailed(f"{' '.join(command)}: step {last} was not reached: {last_lines(output.read())}")
            finally:
                end(process)


def step_times(metrics):
    """{step: seconds since the start} of the complete lines of metrics.jsonl."""
    if not metrics.exists():
        return {}
    lines = [json.loads(line) for line in metrics.read_text().split("\n")[:-1]]
    return {line["step"]: line["seconds"] for line in lines if line["event"] == "step"}
