"""One run on 1 to 8 workers over 1 to 4 hosts in turn, with every bucket size and way of sharding, killed on each and resumed on the next: the bits of the
undisturbed run.

layouts_test.py [KIND]     plain, or a way of saving on the wire whose state has to move with the run
"""
import os
import signal
import sys
import unittest

import hosts
import jobs

# Workers by host.
LAYOUTS = [[1], [8], [1, 1], [5], [2, 1], [4, 4], [1, 1, 1], [3], [2, 2, 1], [4, 3], [1, 1, 1, 1], [3, 2, 1], [2], [3, 3, 2], [2, 1, 2, 1], [2, 2, 2, 1],
           [2, 2, 2, 2]]
FEWER_LAYOUTS = [[4, 4], [1], [1, 1, 1], [8], [2, 1, 2, 1], [3, 3, 2]]
KINDS = {
    "plain": {},
    "bf16": {"comm": {"compression": "bf16"}},
    "int8": {"comm": {"compression": "int8"}},
    "topk": {"comm": {"compression": "topk", "keep": 0.05}},
    "sign": {"comm": {"compression": "sign"}},
    "outer": {"comm": {"groups": 4, "compression": "int4"}, "outer": {"every": 6, "fragments": 3, "delay": 3, "merge": 0.5}},
}
BUCKETS_MIB = ["auto", 0.05, 0.004]
SHARDING = ["gradients", "optimizer", "values", "values"]
STEPS_EACH = 12
STEPS_BEHIND = 200  # so that the last run but one does not end before it is struck on a busy machine


@unittest.skipIf(hosts.missing(), hosts.missing())
class TestLayouts(jobs.SystemTest):
    kind = "plain"

    def setUp(self):
        super().setUp()
        self.layouts = LAYOUTS if self.kind == "plain" else FEWER_LAYOUTS

    def run_folder(self, name):
        sections = jobs.small_job("gpt", "bf16", STEPS_EACH * len(self.layouts) + STEPS_BEHIND)
        sections.update(KINDS[self.kind])
        sections["model"].update(width=64, context=32)  # slow enough to be struck
        sections["batch"]["shards"] = 8
        sections["checkpoint"] = {"every": 2}
        return jobs.RunFolder(self.folder / name, sections)

    def start(self, job, group, number):
        return job.start(f"comm.bucket_mib={BUCKETS_MIB[number % 3]}", f"comm.sharding={SHARDING[number % 4]}", "compute.threads=1",
                         prefix=group.mpirun(self.layouts[number]))

    def kill_at(self, running, job, step):
        jobs.wait_for(lambda: job.last_step() >= step or running.process.poll() is not None, seconds=60, what=f"step {step}")
        for pid in running.workers()[:1]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return running.wait(60).code

    def test_same_bits_on_every_layout_each_killed_and_resumed_on_the_next(self):
        alone = self.run_folder("alone")
        alone.train()
        job = self.run_folder("moved")
        with hosts.Hosts(4, self.folder) as group:
            for number in range(len(self.layouts) - 1):
                running = self.start(job, group, number)
                code = self.kill_at(running, job, STEPS_EACH * (number + 1) - 1)
                self.assertNotEqual(code, 0, f"{self.layouts[number]}: the kill struck")
            result = self.start(job, group, len(self.layouts) - 1).wait(60)
        self.assertEqual(result.code, 0, result)
        self.assertEqual((job.digest(), job.losses()), (alone.digest(), alone.losses()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        TestLayouts.kind = sys.argv.pop(1)
    jobs.main()
