"""Which hardware a job gets: where the plugin or a GPU is missing, or there are fewer GPUs than workers.

Environment: EMULATED_PLUGINS names the folder of the emulated plugins.
"""
import os

import jobs

PLUGINS = f"compute.plugins={os.environ['EMULATED_PLUGINS']}"
CONFIG = 78


class TestGpuChoice(jobs.SystemTest):
    def setUp(self):
        super().setUp()
        self.job = jobs.RunFolder(self.folder / "job", jobs.small_job("mlp", steps=2))

    def refused(self, *overrides, workers=0, gpus="0"):
        """The one line of a job that may not start."""
        result = self.job.train(*overrides, workers=workers, expect=CONFIG, variables={"CUDA_EMULATOR_DEVICES": gpus})
        lines = result.ballast_lines()
        self.assertEqual(len(lines), 1, str(result))
        return lines[0]

    def test_cuda_without_a_gpu_ends_with_the_words_of_the_driver(self):
        for workers in (0, 2):
            self.assertIn("no CUDA-capable device is detected", self.refused("compute.backend=cuda", PLUGINS, workers=workers))

    def test_cuda_without_its_plugin_names_the_file(self):
        line = self.refused("compute.backend=cuda", f"compute.plugins={self.folder}", gpus="1")
        self.assertIn(str(self.folder), line)
        self.assertIn("ballast_cuda.so", line)

    def test_more_workers_than_gpus_is_an_error(self):
        line = self.refused("compute.backend=cuda", PLUGINS, workers=3, gpus="2")
        self.assertRegex(line, r"\b3\b.*\b2\b|\b2\b.*\b3\b")

    def test_auto_takes_the_processor_where_there_is_no_gpu(self):
        self.job.train("compute.backend=auto", PLUGINS, variables={"CUDA_EMULATOR_DEVICES": "0"})
        on_cpu = jobs.RunFolder(self.folder / "cpu", jobs.small_job("mlp", steps=2))
        on_cpu.train("compute.backend=cpu")
        self.assertEqual(self.job.digest(), on_cpu.digest())

    def test_auto_takes_a_gpu_where_there_is_one(self):
        result = self.job.train("compute.backend=auto", PLUGINS, "log.progress=lines", variables={"CUDA_EMULATOR_DEVICES": "1"})
        self.assertIn("(cuda: ", result.out + result.err)


if __name__ == "__main__":
    jobs.main()
