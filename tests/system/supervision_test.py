"""Workers that hang, go slow or disagree, in the program as it is: who is named, how soon, and that nobody is named in vain.

Stops workers with SIGSTOP, and changes weights in the memory of a running worker through /proc.
"""
import os
import pathlib
import random
import re
import signal
import struct
import time
import unittest

import hosts
import jobs

LIMIT = 2.0      # seconds: watch.timeout
REPORTING = 5.0  # seconds from the limit to the end of the job
SLOW = 6         # how many times the limit workers may wait while one saves
PHASE, PROCESS = slice(152, 168), slice(40, 48)  # of the header of a flight recorder's file: comm/flight_record.h


def long_job(steps=100000, **watch):
    sections = jobs.small_job("gpt", steps=steps)
    sections["model"].update(width=64, context=32)
    sections["log"]["every"] = 1
    sections["schedule"] = {"name": "constant"}
    sections["watch"] = {"timeout": f"{LIMIT:g}s", **watch}
    return sections


class TestSupervision(jobs.SystemTest):
    def start(self, sections, workers=3, prefix=()):
        job = jobs.RunFolder(self.folder, sections)
        return job, job.start(workers=0 if prefix else workers, prefix=prefix)

    def wait_for_step(self, job, running, step):
        jobs.wait_for(lambda: job.last_step() >= step or running.process.poll() is not None, what=f"step {step}")

    def header(self, job, rank):
        return (job.dir / "flight" / f"rank-{rank:05}.bin").read_bytes()[:4096]

    def process_of(self, job, rank):
        return struct.unpack("q", self.header(job, rank)[PROCESS])[0]

    def phase_of(self, job, rank):
        return self.header(job, rank)[PHASE].rstrip(b"\0").decode()

    def expect_hang(self, running, stopped_at, limit, pattern, ending=REPORTING, least=None):
        result = running.wait(timeout=60)
        taken = time.monotonic() - stopped_at
        self.assertEqual(result.code, 79, result)
        self.assertFalse(result.leftovers)
        self.assertLess(taken, limit + ending, result)
        self.assertGreater(taken, limit if least is None else least, result)
        failures = [line for line in result.ballast_lines() if "warning:" not in line]
        self.assertEqual(len(failures), 1, result)
        self.assertRegex(failures[0], pattern)
        return failures[0]

    def test_a_stopped_worker_is_named(self):
        for rank in (0, 2):
            with self.subTest(rank=rank):
                self.folder /= str(rank)
                job, running = self.start(long_job())
                self.wait_for_step(job, running, 5)
                os.kill(self.process_of(job, rank), signal.SIGSTOP)
                line = self.expect_hang(running, time.monotonic(), LIMIT,
                                        rf"no progress for [\d.]+ s: rank {rank} on \S+ \(its process is stopped, .* of step \d+\) .* in step \d+")
                report = pathlib.Path(re.search(r"(\S+hang-\d+\.txt) says more", line)[1])
                self.assertIn("rank 1 on", report.read_text())
                self.assertIn("latest collectives", report.with_name(f"{report.stem}-rank-00001.txt").read_text())
                self.assertGreater(job.last_step(), 0)

    def test_a_worker_that_is_stopped_while_it_saves_is_named_in_time(self):
        sections = long_job(timeout="1s")
        sections["checkpoint"] = {"every": 1, "background": False}
        job, running = self.start(sections)
        self.wait_for_step(job, running, 3)
        stopped = self.process_of(job, 1)
        deadline = time.monotonic() + 20
        while True:
            os.kill(stopped, signal.SIGSTOP)
            time.sleep(0.02)
            if self.phase_of(job, 1) == "save":
                break
            os.kill(stopped, signal.SIGCONT)
            self.assertLess(time.monotonic(), deadline, "never seen while it saved")
            time.sleep(random.uniform(0.0, 0.01))
        # The others may have saved already, and wait for it where nothing slow is expected.
        self.expect_hang(running, time.monotonic(), SLOW * 1.0, r"rank 1 on \S+ \(its process is stopped, .* in phase save of step \d+\)", least=0.9)
        self.assertTrue(jobs.json_of("verify", job.dir)["ok"], "the last acknowledged checkpoint is whole")

    def test_slow_workers_are_not_killed(self):
        """Every worker is stopped for up to half the limit, many times; then the weights are those of an undisturbed run."""
        sections = long_job(steps=10 ** 9)
        job, running = self.start(sections)
        self.wait_for_step(job, running, 3)
        chance = random.Random(5)
        end = time.monotonic() + 15
        while time.monotonic() < end and running.process.poll() is None:
            process = self.process_of(job, chance.randrange(3))
            os.kill(process, signal.SIGSTOP)
            time.sleep(chance.uniform(0.0, 0.45 * LIMIT))
            os.kill(process, signal.SIGCONT)
            time.sleep(0.01)
        running.signal(signal.SIGUSR1)
        result = running.wait(timeout=30)
        self.assertEqual(result.code, 75, result)
        self.assertEqual(list((job.dir / "flight").glob("hang*")), [])
        whole = jobs.RunFolder(self.folder / "whole", long_job(steps=jobs.json_of("verify", job.dir)["step"]))
        whole.train(workers=2)
        self.assertEqual(job.digest(), whole.digest())

    def test_a_worker_that_comes_back_is_only_warned_about(self):
        job, running = self.start(long_job(timeout="4s"))
        self.wait_for_step(job, running, 3)
        stopped = self.process_of(job, 1)
        os.kill(stopped, signal.SIGSTOP)
        time.sleep(3)
        os.kill(stopped, signal.SIGCONT)
        step = job.last_step()
        self.wait_for_step(job, running, step + 3)
        running.signal(signal.SIGUSR1)
        result = running.wait(timeout=30)
        self.assertEqual(result.code, 75, result)
        self.assertRegex(result.err, r"ballast: \[rank 0 on \S+\] warning: no progress for 2\.\d s: rank 1 on .*the job ends when that lasts 4\.0 s")

    def test_training_does_not_need_the_folder(self):
        job = jobs.RunFolder(self.folder, long_job(steps=5))
        job.dir.mkdir()
        (job.dir / "flight").write_text("in the way")
        result = job.train(workers=2)
        self.assertRegex(result.err, r"warning: .*flight/rank-00000\.bin: cannot be written: Not a directory")
        self.assertEqual((job.dir / "flight").read_text(), "in the way")

    def test_a_hang_ends_the_job_without_the_folder_too(self):
        job = jobs.RunFolder(self.folder, long_job())
        job.dir.mkdir()
        (job.dir / "flight").write_text("in the way")
        running = job.start(workers=2)
        self.wait_for_step(job, running, 3)
        os.kill(max(running.workers()), signal.SIGSTOP)
        self.expect_hang(running, time.monotonic(), LIMIT, r"no progress for [\d.]+ s in .* in step \d+ .*there is no run folder")

    def test_the_keys_turn_it_off(self):
        sections = long_job(timeout=0, collectives=False, values=0)
        job, running = self.start(sections)
        self.wait_for_step(job, running, 3)
        stopped = self.process_of(job, 1)
        os.kill(stopped, signal.SIGSTOP)
        time.sleep(LIMIT)
        self.assertIsNone(running.process.poll())
        os.kill(stopped, signal.SIGCONT)
        running.signal(signal.SIGUSR1)
        self.assertEqual(running.wait(timeout=20).code, 75)


@unittest.skipIf(hosts.missing(), hosts.missing())
class TestSupervisionOfHosts(TestSupervision):
    def test_a_stopped_worker_on_another_host_is_named(self):
        with hosts.Hosts(2, self.folder) as group:
            job, running = self.start(long_job(), prefix=group.mpirun([1, 2]))
            self.wait_for_step(job, running, 5)
            os.kill(self.process_of(job, 2), signal.SIGSTOP)
            self.expect_hang(running, time.monotonic(), LIMIT, r"no progress for [\d.]+ s: rank 2 on h2 .* in step \d+",
                             ending=REPORTING + 5)  # mpirun needs some seconds to end a stopped process on another host

    def test_changed_weights_on_one_host_are_found(self):
        sections = long_job(values=1)
        with hosts.Hosts(2, self.folder) as group:
            job, running = self.start(sections, prefix=group.mpirun([2, 2]))
            self.wait_for_step(job, running, 5)
            process = self.process_of(job, 2)
            places = self.weights_of(process)
            began = time.monotonic()
            with open(f"/proc/{process}/mem", "r+b", buffering=0) as memory:
                while running.process.poll() is None and time.monotonic() < began + 20:
                    try:
                        for place in places:
                            os.pwrite(memory.fileno(), struct.pack("f", 0.123), place)
                    except OSError:
                        break  # it has ended
                    time.sleep(0.001)
            result = running.wait(timeout=20)
        self.assertEqual(result.code, 76, result)
        self.assertFalse(result.leftovers)
        self.assertRegex(result.ballast_lines()[0],
                         r"step \d+: the workers disagree about the weights: ranks 2 and 3 and ranks 0 and 1 hold different values of "
                         r"\S+ \(elements 0 to \d+\)")

    @staticmethod
    def weights_of(process):
        """Addresses of a number in every block of the node's weights. Of what its workers share, gradients are one page longer, the rest is short."""
        maps = pathlib.Path(f"/proc/{process}/maps").read_text()
        shared = [(int(begin, 16), int(end, 16)) for begin, end in re.findall(r"^(\w+)-(\w+) .* /memfd:ballast ", maps, re.M)]
        longest = max(end - begin for begin, end in shared)
        begin, end = next((begin, end) for begin, end in shared if end - begin == longest - 4096)
        return range(begin + 4, end, 4 * 8192)


# Its own tests only: the base class has run.
for name in [name for name in dir(TestSupervision) if name.startswith("test_")]:
    setattr(TestSupervisionOfHosts, name, None)


if __name__ == "__main__":
    jobs.main()
