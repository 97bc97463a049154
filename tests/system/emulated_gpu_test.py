"""Whole training runs on emulated GPUs: one a worker, the same bits on any number of them, the losses of the processor.

emulated_gpu_test.py MODEL   (environment: EMULATED_PLUGINS names the folder of the emulated plugins)
"""
import os
import re
import shutil
import signal
import sys

import jobs

PLUGINS = os.environ["EMULATED_PLUGINS"]
CUDA = ["compute.backend=cuda", f"compute.plugins={PLUGINS}", "compute.threads=1"]
CPU = ["compute.backend=cpu", "compute.threads=1"]
GPUS = {"CUDA_EMULATOR_DEVICES": "3"}
STEPS = 4
LONGER = 24  # enough to be killed on the way


def tiny_job(model, precision="f32", steps=STEPS):
    """A second of work for the emulator. 4 shards, so that 3 workers have unequal shares."""
    sections = jobs.small_job(model, precision, steps)
    if model == "gpt":
        sections["model"].update(width=16, context=8, vocabulary=32)
    else:
        sections["model"].update(image_rows=8, image_columns=8, channels=[4, 6, 8])
    sections["batch"]["size"] = 8
    sections["checkpoint"] = {"every": 1, "keep": steps}
    return sections


class TestEmulatedGpu(jobs.SystemTest):
    model = None

    def job(self, name, precision="f32", steps=STEPS):
        return jobs.RunFolder(self.folder / name, tiny_job(self.model, precision, steps))

    def trained(self, name, *overrides, workers, precision="f32", variables=None):
        job = self.job(name, precision)
        job.train(*overrides, workers=workers, variables=GPUS | (variables or {}), timeout=240)
        return job

    def trained_counting_graphs(self, name, **variables):
        """The run, and how many CUDA graphs each of its two workers updated and launched."""
        counts = self.folder / f"{name}.counts"
        job = self.trained(name, *CUDA, workers=2, variables={"CUDA_EMULATOR_COUNTS": str(counts), **variables})
        lines = re.findall(r"(\d+) updated, .* (\d+) launched", counts.read_text())
        self.assertEqual(len(lines), 2, "a line from each worker")
        return job, [(int(updated), int(launched)) for updated, launched in lines]

    def expect_close(self, losses, expected):
        self.assertEqual([step for step, _loss in losses], [step for step, _loss in expected], "one loss a step")
        for (step, loss), (_step, wanted) in zip(losses, expected):
            self.assertLessEqual(abs(float(loss) - float(wanted)), 1e-5 * abs(float(wanted)), f"step {step}: {loss}, not {wanted}")

    def test_same_bits_on_any_number_of_gpus_and_the_losses_of_the_processor(self):
        cpu = self.trained("cpu", *CPU, workers=1)
        self.assertEqual(len(set(cpu.losses())), STEPS, "training happens")
        found = {}
        for workers in (1, 2, 3):
            job = self.trained(f"cuda{workers}", *CUDA, workers=workers)
            self.expect_close(job.losses(), cpu.losses())
            found[workers] = job.digest(), job.losses()
        print("digest", found[1][0])
        self.assertEqual(found[1], found[2])
        self.assertEqual(found[1], found[3])

    def test_graphs_change_no_bits(self):
        graphs, counts = self.trained_counting_graphs("graphs")
        for updated, launched in counts:
            self.assertGreater(updated, 0)
            self.assertGreaterEqual(launched, 2 * (STEPS - 1), "forward and backward, but for the first step")
        one_by_one, counts = self.trained_counting_graphs("one_by_one", CUDA_LAUNCH_BLOCKING="1")
        self.assertEqual(counts, [(0, 0), (0, 0)])
        self.assertEqual((graphs.digest(), graphs.losses()), (one_by_one.digest(), one_by_one.losses()))

    def test_same_bits_in_bf16(self):
        found = [(job.digest(), job.losses()) for job in
                 (self.trained(f"bf16-{workers}", *CUDA, workers=workers, precision="bf16") for workers in (1, 2, 3))]
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])

    def test_native_reduction_keeps_the_losses(self):
        cpu = self.trained("cpu", *CPU, workers=1)
        for workers in (2, 3):
            native = self.trained(f"native{workers}", *CUDA, "comm.reduction=native", workers=workers)
            self.expect_close(native.losses(), cpu.losses())

    def newest(self, job):
        return max((int(path.name.removeprefix("step-")) for path in job.checkpoints()), default=0)

    def kill_at(self, job, step):
        """Starts the job on two GPUs and ends it with SIGKILL as soon as there is a checkpoint of `step`."""
        running = job.start(*CUDA, workers=2, variables=GPUS)
        jobs.wait_for(lambda: self.newest(job) >= step or running.process.poll() is not None, seconds=200, what=f"step {step}")
        for pid in running.workers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.assertNotIn(running.wait(timeout=60).code, (0, 75), "the kill struck")
        self.assertLess(self.newest(job), LONGER, "in the middle")

    def test_killed_on_a_gpu_resumes_on_the_processor_and_back(self):
        cpu = self.job("cpu", steps=LONGER)
        cpu.train(*CPU)
        job = self.job("moved", steps=LONGER)
        self.kill_at(job, 2)
        # The processor is too fast to be killed at a chosen step: its later checkpoints are taken away.
        job.train(*CPU, workers=1)
        first_of_processor = 6
        for path in job.checkpoints():
            if int(path.name.removeprefix("step-")) > first_of_processor:
                shutil.rmtree(path)
        self.kill_at(job, first_of_processor + 2)
        self.assertEqual(job.train(*CUDA, workers=3, variables=GPUS, timeout=240).code, 0)
        job.digest()
        self.expect_close(job.losses(), cpu.losses())


if __name__ == "__main__":
    TestEmulatedGpu.model = sys.argv.pop()
    jobs.main()
