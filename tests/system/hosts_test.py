"""The same bits over several hosts as on one.

hosts_test.py MODEL PRECISION
"""
import sys
import unittest

import hosts
import jobs

LAYOUTS = [[1, 1], [2, 1], [2, 2], [1, 1, 1], [1, 2, 1]]
COORDINATORS = ["all", 1, 2]
SHARDING = ["optimizer", "gradients"]  # by layout; "values" on all
BUCKETS_MIB = [0.05, "auto"]


@unittest.skipIf(hosts.missing(), hosts.missing())
class TestHosts(jobs.SystemTest):
    model = precision = None

    def test_same_bits_over_two_and_three_hosts(self):
        alone = jobs.RunFolder(self.folder / "alone", jobs.small_job(self.model, self.precision))
        alone.train()
        expected = alone.digest(), alone.losses()
        with hosts.Hosts(3, self.folder) as group:
            for number, slots in enumerate(LAYOUTS):
                for sharding in (SHARDING[number % 2], "values"):
                    job = jobs.RunFolder(self.folder / f"{number}-{sharding}", jobs.small_job(self.model, self.precision))
                    job.train(f"comm.coordinators={COORDINATORS[number % 3]}", f"comm.bucket_mib={BUCKETS_MIB[number % 2]}", f"comm.sharding={sharding}",
                              "compute.threads=1", prefix=group.mpirun(slots))
                    self.assertEqual((job.digest(), job.losses()), expected, (slots, sharding))

    def test_same_bits_over_slow_links(self):
        alone = jobs.RunFolder(self.folder / "alone", jobs.small_job(self.model, self.precision))
        alone.train()
        with hosts.Hosts(2, self.folder, rate="100mbit", delay_ms=2) as group:
            for sharding in ("optimizer", "values"):
                job = jobs.RunFolder(self.folder / sharding, jobs.small_job(self.model, self.precision))
                job.train("comm.bucket_mib=0.05", f"comm.sharding={sharding}", "compute.threads=1", prefix=group.mpirun([2, 1]))
                self.assertEqual((job.digest(), job.losses()), (alone.digest(), alone.losses()), sharding)


if __name__ == "__main__":
    TestHosts.precision = sys.argv.pop()
    TestHosts.model = sys.argv.pop()
    jobs.main()
