"""The examples reach the quality that the README states, on two workers.

training_test.py fashion_mnist|gpt_text
"""
import os
import pathlib
import sys
import unittest

import jobs

ROOT = pathlib.Path(__file__).resolve().parents[2]


class TestTraining(jobs.SystemTest):
    example = None

    def train(self, minutes):
        directory = self.folder / "run"
        result = jobs.Job(["train", ROOT / "examples" / f"{self.example}.toml", f"job.dir={directory}", "log.progress=lines"],
                          workers=2).wait(timeout=60 * minutes)
        self.assertEqual(result.code, 0, result)
        evaluation = jobs.json_of("eval", directory)
        print(f"{self.example}: {evaluation} after {result.seconds:.0f} s with 2 workers on {os.cpu_count()} cores")
        return evaluation

    def test_quality(self):
        os.chdir(ROOT)
        if self.example == "fashion_mnist":
            if not pathlib.Path("/usr/share/datasets/fashion-mnist").exists():
                raise unittest.SkipTest("the package dataset-fashion-mnist is absent")
            self.assertGreaterEqual(self.train(minutes=6)["accuracy"], 0.91)
        else:
            self.assertLess(self.train(minutes=8)["loss"], 1.80)


if __name__ == "__main__":
    TestTraining.example = sys.argv.pop()
    jobs.main()
