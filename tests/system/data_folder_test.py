"""Training on a folder of token files: the same bits on any number of workers, and each reads what its shards need."""
import os
import pathlib
import random
import signal
import struct

import jobs

FILES, WINDOWS, CONTEXT = 8, 40, 16  # 320 samples: 20 steps of 16, and exactly two files for each of 4 shards


class TestDataFolder(jobs.SystemTest):
    def setUp(self):
        super().setUp()
        self.corpus = self.folder / "corpus"
        self.corpus.mkdir()
        self.write("val_000000.bin", 0)
        for number in range(FILES):
            self.write(f"train_{number + 1:06}.bin", number + 1)

    def write(self, name, seed):
        """A file as llm.c's scripts make them. Every token is likely to be followed by the next one."""
        draw = random.Random(seed)
        tokens = [draw.randrange(64)]
        while len(tokens) < WINDOWS * CONTEXT + 1:
            tokens.append((tokens[-1] + 1) % 64 if draw.random() < 0.8 else draw.randrange(64))
        header = struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253)
        (self.corpus / name).write_bytes(header + struct.pack(f"<{len(tokens)}H", *tokens))

    def job(self, name, **data):
        sections = jobs.small_job("gpt")
        sections["schedule"] = {"name": "constant"}  # a run may stop and get more steps
        sections["data"] = {"format": "tokens", "train": f"{self.corpus}/train_*.bin",
                            "validation": f"{self.corpus}/val_000000.bin", **data}
        return jobs.RunFolder(self.folder / name, sections)

    def test_same_bits_on_any_number_of_workers(self):
        results = []
        for chunk in (0, 4):
            alone = self.job(f"alone-{chunk}", chunk=chunk)
            alone.train("job.steps=25")
            results.append((alone.digest(), alone.losses()))
            for workers in (2, 3):
                job = self.job(f"{workers}-{chunk}", chunk=chunk)
                job.train("job.steps=11", workers=workers)
                job.train("job.steps=25", workers=5 - workers)
                self.assertEqual((job.digest(), job.losses()), results[-1], f"{workers} workers, chunks of {chunk}")
        self.assertNotEqual(*results, "chunks are another order")

    def test_a_folder_is_all_its_files(self):
        named, whole = self.job("named"), self.job("whole", train=str(self.corpus))
        named.train()
        (self.corpus / "val_000000.bin").rename(self.folder / "val")
        whole.train(f"data.validation={self.folder}/val")
        self.assertEqual(whole.losses(), named.losses())

    def test_refuses_to_go_on_with_a_file_more(self):
        job = self.job("more")
        job.train()
        self.write("train_000009.bin", 9)
        self.assertIn("data.train", job.train("job.steps=9", workers=2, expect=65).err)

    def files_open(self, job, workers):
        """The training files that each worker has open after more than an epoch. It keeps up to 64 that it has read from."""
        running = job.start("job.steps=10000000", "log.every=25", "log.statistics=1000000", workers=workers)
        try:
            jobs.wait_for(lambda: job.last_step() >= 25 or running.process.poll() is not None)
            return [{path.name for path in open_files(pid) if path.name.startswith("train_")} for pid in running.workers()]
        finally:
            running.signal(signal.SIGUSR1)
            self.assertEqual(running.wait().code, 75)

    def test_a_worker_reads_the_files_of_its_shards(self):
        every = {f"train_{number + 1:06}.bin" for number in range(FILES)}
        one, other = self.files_open(self.job("chunks", chunk=8), 2)
        self.assertEqual((one | other, one & other, len(one)), (every, set(), FILES // 2))
        self.assertEqual(self.files_open(self.job("samples"), 2), [every, every], "shuffled one by one")


def open_files(pid):
    found = []
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(pathlib.Path(os.readlink(link)))
        except OSError:
            pass  # closed meanwhile
    return found


if __name__ == "__main__":
    jobs.main()
