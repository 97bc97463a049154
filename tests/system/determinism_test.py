"""The same bits on any number of workers, threads, buckets, coordinators, ways of sharding, and whatever is computed again in backward.

determinism_test.py MODEL PRECISION
"""
import sys

import jobs

WORKERS = [1, 2, 3, 4]
BUCKETS_MIB = [8, 0.05, 0.004]
COORDINATORS = ["all", 1, 2]
RECOMPUTE = ["none", "block", "attention"]  # by bucket
SHARDING = ["optimizer", "gradients", "values"]


def layouts():
    """Every pair of values of any two dimensions occurs, but two coordinators need two workers."""
    for workers in WORKERS:
        for index, bucket in enumerate(BUCKETS_MIB):
            coordinators = COORDINATORS[(workers + index) % 3]
            if coordinators == 2:
                coordinators = min(2, workers)
            yield {"workers": workers, "threads": 1 + (workers + index) % 2, "bucket": bucket, "coordinators": coordinators,
                   "share": True, "recompute": RECOMPUTE[index], "sharding": SHARDING[(workers + index) % 3]}
    # Every worker a node of its own: slices travel as messages.
    for workers in (2, 3, 4):
        for index, sharding in enumerate(SHARDING):
            yield {"workers": workers, "threads": 1, "bucket": BUCKETS_MIB[1 + index % 2], "coordinators": COORDINATORS[(workers + index) % 3],
                   "share": False, "recompute": RECOMPUTE[(workers + index) % 3], "sharding": sharding}


class TestDeterminism(jobs.SystemTest):
    model = precision = None

    def test_same_bits_on_every_layout(self):
        expected = None
        for number, layout in enumerate(layouts()):
            job = jobs.RunFolder(self.folder / str(number), jobs.small_job(self.model, self.precision))
            job.train(f"compute.threads={layout['threads']}", f"comm.bucket_mib={layout['bucket']}",
                      f"comm.coordinators={layout['coordinators']}", f"comm.share_memory={str(layout['share']).lower()}",
                      f"memory.recompute={layout['recompute']}", f"comm.sharding={layout['sharding']}", "evaluate.every=3",
                      workers=layout["workers"])
            found = job.digest(), job.losses()
            if expected is None:
                expected = found
                self.assertEqual([step for step, _loss in expected[1]], list(range(1, 8)), "one loss a step")
                self.assertEqual(len(set(expected[1])), 7, "the losses change: training happens")
                print("digest", expected[0])
            self.assertEqual(found, expected, layout)

    def test_another_seed_gives_other_bits(self):
        digests = set()
        for seed in (5, 6):
            job = jobs.RunFolder(self.folder / str(seed), jobs.small_job(self.model, self.precision))
            job.train(f"job.seed={seed}")
            digests.add(job.digest())
        self.assertEqual(len(digests), 2)


if __name__ == "__main__":
    TestDeterminism.precision = sys.argv.pop()
    TestDeterminism.model = sys.argv.pop()
    jobs.main()
