"""A worker that fails ends the whole job soon, with its message."""
import os

import jobs


class TestWorkerFailure(jobs.SystemTest):
    def command(self, job, second):
        """mpirun for two workers; the shell words `second` stand before the command of the last one."""
        return ["mpirun", "-n", "1", jobs.BALLAST, "train", str(job.job_file), ":", "-n", "1", "sh", "-c", f'{second} "$0" "$@"']

    def test_a_worker_without_memory(self):
        sections = jobs.small_job("convnet")
        sections["model"].update(image_rows=512, image_columns=512, channels=[32, 32, 32])  # activations of about 1 GiB
        job = jobs.RunFolder(self.folder, sections)
        result = job.start(prefix=self.command(job, "ulimit -v 1000000; exec")).wait(timeout=20)
        self.assertEqual(result.code, 70, result)
        self.assertLess(result.seconds, 12)
        self.assertFalse(result.leftovers)
        self.assertEqual(len(result.ballast_lines()), 1)
        self.assertRegex(result.ballast_lines()[0], r"\[rank 1 on .*\] cannot allocate")

    def test_workers_follow_the_settings_of_rank_0(self):
        digests = set()
        for odd in ("exec", "BALLAST_OPTIMIZER_LR=0.5 exec"):
            job = jobs.RunFolder(self.folder / str(len(digests)), jobs.small_job("mlp"))
            job.train(prefix=self.command(job, odd))
            digests.add(job.digest())
        self.assertEqual(len(digests), 1)

    def test_workers_that_read_other_data_do_not_start(self):
        tokens = self.folder / "here" / "tokens.bin"
        other = self.folder / "there" / "tokens.bin"
        for path, byte in ((tokens, b"\1"), (other, b"\2")):
            path.parent.mkdir()
            path.write_bytes(byte * (2 * 16 * 400))
        sections = jobs.small_job("gpt")
        sections["model"]["vocabulary"] = 1024
        sections["data"] = {"format": "tokens", "train": "tokens.bin"}
        job = jobs.RunFolder(self.folder, sections)
        result = job.start(prefix=["mpirun", "-n", "1", "--wdir", str(tokens.parent), os.path.abspath(jobs.BALLAST), "train", str(job.job_file), ":",
                                   "-n", "1", "--wdir", str(other.parent), "sh", "-c", 'exec "$0" "$@"']).wait(timeout=20)
        self.assertEqual(result.code, 76, result)
        self.assertEqual(len(result.ballast_lines()), 1, result)
        self.assertRegex(result.ballast_lines()[0], r"the workers disagree about the training data: rank 1 \(12800:[\w:+]+\) and rank 0 \(12800:[\w:+]+\)")

    def test_data_cut_while_a_job_trains(self):
        tokens = self.folder / "tokens.bin"
        tokens.write_bytes(bytes(2 * 16 * 400))
        sections = jobs.small_job("gpt", steps=100000)
        sections["data"] = {"format": "tokens", "train": str(tokens), "shuffle": False}
        job = jobs.RunFolder(self.folder, sections)
        running = job.start(workers=3)
        jobs.wait_for(lambda: job.last_step() >= 5 or running.process.poll() is not None, what="the fifth step")
        os.truncate(tokens, 2 * 16 * 200)
        result = running.wait(timeout=20)
        self.assertEqual(result.code, 65, result)
        self.assertFalse(result.leftovers)
        self.assertIn("tokens.bin: at byte", result.ballast_lines()[0])


if __name__ == "__main__":
    jobs.main()
