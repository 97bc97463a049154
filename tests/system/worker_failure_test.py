"""One worker that fails ends the whole job soon, with its message."""
import jobs


class TestWorkerFailure(jobs.SystemTest):
    def both(self, job, first, second):
        """mpirun with two different commands: the last worker's is the odd one."""
        train = f'"$0" train {job.job_file}'
        return ["mpirun", "-n", "1", jobs.BALLAST, "train", str(job.job_file), *first, ":",
                "-n", "1", "sh", "-c", second.replace("BALLAST", f"{jobs.BALLAST} train {job.job_file}"), train]

    def start(self, second):
        job = jobs.RunFolder(self.folder, jobs.small_job("gpt", steps=100000))
        command = ["mpirun", "-n", "1", jobs.BALLAST, "train", str(job.job_file), ":",
                   "-n", "1", "sh", "-c", f'{second} "$0" "$@"']
        return job.start(prefix=command).wait(timeout=20)

    def test_a_worker_without_memory(self):
        result = self.start("ulimit -v 450000; exec")
        self.assertNotIn(result.code, (0, 75), result)
        self.assertLess(result.seconds, 12)
        self.assertFalse(result.leftovers)
        self.assertRegex(result.err, "rank 1")

    def test_a_worker_with_another_configuration(self):
        result = self.start("BALLAST_OPTIMIZER_LR=0.5 exec env")
        self.assertEqual(result.code, 76, result)
        self.assertLess(result.seconds, 12)
        self.assertRegex(result.err, "optimizer.lr")


if __name__ == "__main__":
    jobs.main()
