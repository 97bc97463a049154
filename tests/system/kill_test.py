"""Workers killed with SIGKILL at random moments, each time resumed on another number of workers: the bits of the uninterrupted run."""
import os
import pathlib
import random
import re
import signal
import time

import jobs

KILLS = 20
STEPS = 120


def killed_job():
    """Saves every third step, so that about half of the moments fall into a save."""
    sections = jobs.small_job("gpt", "bf16", steps=STEPS)
    sections["model"].update(width=64, context=32)
    sections["checkpoint"] = {"every": 3, "keep": 2}
    return sections


def orphaned_memory():
    """Files of ours or of Open MPI's in /dev/shm that no live process uses: other programs may run at the same time."""
    names = {name for name in os.listdir("/dev/shm") if name.startswith(("ballast", "vader_segment", "osc_", "ompi"))}
    for maps in pathlib.Path("/proc").glob("[0-9]*/maps"):
        try:
            names -= set(re.findall(r"/dev/shm/(\S+)", maps.read_text()))
        except OSError:
            pass
    return names


class TestKill(jobs.SystemTest):
    def kill_one(self, job, workers, step, choose):
        """Starts the job, waits for `step` (or a moment of the start for None), kills; returns the exit code."""
        metrics = job.dir / "metrics.jsonl"
        before = metrics.stat().st_mtime_ns if metrics.exists() else 0
        running = job.start("compute.threads=1", workers=workers)
        jobs.wait_for(lambda: len(running.workers()) == workers or running.process.poll() is not None, what="all workers")
        if step is None:
            time.sleep(choose.uniform(0.0, 0.6))
        else:
            moved = lambda: metrics.exists() and metrics.stat().st_mtime_ns != before and job.last_step() >= step
            jobs.wait_for(lambda: moved() or running.process.poll() is not None, seconds=60, what=f"step {step}")
            time.sleep(choose.uniform(0.0, 0.03))
        alive = running.workers()
        for pid in alive if choose.random() < 0.3 else choose.sample(alive, min(1, len(alive))):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        jobs.wait_for(lambda: not running.workers(), seconds=15, what="the end of all workers")
        try:
            result = running.wait(timeout=15)
        except AssertionError:
            if step is not None:
                raise
            # Open MPI 4.1's mpirun may hang when a worker dies while it connects; the workers are gone, and mpirun is now, too.
            return "mpirun hung"
        self.assertFalse(result.leftovers, "processes outlive a killed job")
        return result.code

    def test_killed_at_random_moments(self):
        seed = int(os.environ.get("KILL_TEST_SEED", "20240229"))
        print("seed", seed, "(KILL_TEST_SEED)")
        choose = random.Random(seed)
        before = orphaned_memory()
        whole = jobs.RunFolder(self.folder / "whole", killed_job())
        whole.train(workers=2)

        job = jobs.RunFolder(self.folder / "killed", killed_job())
        moments = sorted(choose.randrange(1, STEPS - 3) for _ in range(KILLS - 5)) + [None] * 5
        for i in range(5):  # five moments of the start, spread among those of the steps
            moments.insert(3 * i + 1, moments.pop())
        codes = []
        for number, step in enumerate(moments):
            workers = [2, 4, 1, 3][number % 4]
            codes.append(self.kill_one(job, workers, step, choose))
            self.assertLessEqual(len(job.checkpoints()), 4, "old checkpoints are removed")
        print("exit codes", codes)
        self.assertGreaterEqual(sum(code not in (0, 75) for code in codes), KILLS - 1, "the kills struck")

        result = job.train(workers=2)
        self.assertNotIn("Traceback", result.err)
        self.assertEqual(job.digest(), whole.digest())
        self.assertEqual(job.losses(), whole.losses(), "metrics.jsonl holds every step once")
        jobs.wait_for(lambda: orphaned_memory() <= before, seconds=20, what="a clean /dev/shm")
        halves = [path.name for path in (job.dir / "checkpoints").iterdir() if path.name.startswith((".tmp", ".trash"))]
        self.assertFalse(halves, "half-written checkpoints are left behind")


if __name__ == "__main__":
    jobs.main()
