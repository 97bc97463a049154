"""SIGUSR1, SIGUSR2 and SIGTERM: an agreed checkpoint, exit code 75, and the same command goes on."""
import signal
import time

import jobs


def long_job(steps):
    sections = jobs.small_job("gpt", "f32", steps=steps)
    sections["model"].update(width=64, context=32)
    sections["schedule"] = {"name": "constant"}
    return sections


class TestSignals(jobs.SystemTest):
    def stop(self, number, workers):
        job = jobs.RunFolder(self.folder / f"{number}-{workers}", long_job(100000))
        running = job.start(workers=workers)
        jobs.wait_for(lambda: job.last_step() >= 3 or running.process.poll() is not None, what="the third step")
        running.signal(number)
        result = running.wait(timeout=20)
        self.assertEqual(result.code, 75, result)
        self.assertFalse(result.leftovers)
        self.assertEqual(len(job.checkpoints()), 1, "one agreed checkpoint")
        return job

    def test_usr1_to_mpirun_stops_and_the_same_command_goes_on(self):
        job = self.stop(signal.SIGUSR1, workers=2)
        step = jobs.json_of("verify", job.dir)["step"]
        job.train(f"job.steps={step + 5}", workers=1)
        self.assertEqual(jobs.json_of("verify", job.dir)["step"], step + 5)
        whole = jobs.RunFolder(self.folder / "whole", long_job(step + 5))
        whole.train(workers=2)
        self.assertEqual(job.digest(), whole.digest())
        self.assertEqual(job.losses(), whole.losses())

    def test_usr2_to_mpirun(self):
        self.stop(signal.SIGUSR2, workers=2)

    def test_terminating_a_lone_worker(self):
        self.stop(signal.SIGTERM, workers=0)

    def test_a_burst_of_signals_leaves_the_computation_alone(self):
        """Some library kernels keep data where a signal handler's stack frame goes."""
        sections = long_job(100000)
        sections["batch"]["size"] = 512  # a step long enough for many signals
        sections["data"]["samples"] = 2048
        job = jobs.RunFolder(self.folder / "burst", sections)
        running = job.start()
        jobs.wait_for(lambda: job.last_step() >= 2 or running.process.poll() is not None, what="the second step")
        for _ in range(100):
            if running.process.poll() is None and not job.checkpoints():
                running.signal(signal.SIGUSR1)
            time.sleep(0.001)
        result = running.wait(timeout=20)
        self.assertEqual(result.code, 75, result)
        step = jobs.json_of("verify", job.dir)["step"]
        sections["job"]["steps"] = step
        whole = jobs.RunFolder(self.folder / "whole", sections)
        whole.train()
        self.assertEqual(job.digest(), whole.digest())

    def test_stopping_before_the_first_step(self):
        job = jobs.RunFolder(self.folder / "early", long_job(100000))
        running = job.start(workers=2)
        jobs.wait_for(lambda: (job.dir / "config.toml").exists() or running.process.poll() is not None, what="the run folder")
        running.signal(signal.SIGUSR1)
        self.assertEqual(running.wait(timeout=20).code, 75)

    def test_stop_after_a_time(self):
        job = jobs.RunFolder(self.folder / "time", long_job(100000))
        result = job.train("job.stop_after=1s", workers=2, expect=75)
        self.assertLess(result.seconds, 15)
        self.assertEqual(len(job.checkpoints()), 1)


if __name__ == "__main__":
    jobs.main()
