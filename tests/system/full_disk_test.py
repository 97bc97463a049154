"""A full disk: training goes on, the old checkpoint stays, and a warning names host, path and reason. Needs root (a small tmpfs)."""
import os
import socket
import subprocess
import unittest

import jobs


def missing():
    if os.getuid() != 0:
        return "a small file system of its own needs root"
    return ""


@unittest.skipIf(missing(), missing())
class TestFullDisk(jobs.SystemTest):
    def mount(self, folder, size):
        folder.mkdir(parents=True)
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True)
        if made.returncode != 0:
            self.skipTest(f"mounting a tmpfs: {made.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", folder], check=True)

    def sections(self):
        sections = jobs.small_job("mlp", steps=12)
        sections["checkpoint"] = {"every": 3, "keep": 3}
        return sections

    def checkpoint_bytes(self):
        probe = jobs.RunFolder(self.folder / "probe", self.sections())
        probe.train()
        return sum(path.stat().st_size for path in probe.checkpoints()[-1].iterdir()), probe

    def test_training_goes_on_and_the_old_checkpoint_stays(self):
        size, probe = self.checkpoint_bytes()
        for workers in (0, 3):
            with self.subTest(workers=workers):
                job = jobs.RunFolder(self.folder / f"full{workers}", self.sections())
                self.mount(job.dir / "checkpoints", int(2.5 * size))
                result = job.train(workers=workers, expect=None)
                self.assertEqual([step for step, _loss in job.losses()], list(range(1, 13)), result)
                self.assertEqual([path.name for path in job.checkpoints()], ["step-000000000003", "step-000000000006"])
                said = result.err + (job.dir / "log").read_text()
                for word in (str(job.dir / "checkpoints"), "No space left on device", socket.gethostname()):
                    self.assertIn(word, said)
                self.assertEqual(jobs.json_of("verify", job.dir)["step"], 6)
                # The last save failed as well, so the job has not kept what it was asked for.
                self.assertEqual(result.code, 74, result)
                # With room again the same command saves the last step with the bits of an undisturbed run.
                subprocess.run(["mount", "-o", f"remount,size={20 * size}", job.dir / "checkpoints"], check=True)
                job.train(workers=2)
                self.assertEqual(job.digest(), probe.digest())


if __name__ == "__main__":
    jobs.main()
