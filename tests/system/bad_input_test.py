"""Wrong job files, wrong data, damaged checkpoints: the documented exit code and clear lines that name the object; nothing hangs."""
import gzip
import shutil
import struct

import jobs

USAGE, DATA, VERSION, BUSY, CONFIG = 64, 65, 69, 73, 78


def idx(values, *shape):
    """An idx file of bytes (Fashion-MNIST's format)."""
    return struct.pack(">HBB", 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


class BadInputTest(jobs.SystemTest):
    def refused(self, code, *words, overrides=(), sections=None, text=None, lines=1, workers=(0, 2)):
        """Training ends with `code` at once, in `lines` lines which hold every one of `words`, alone and under mpirun."""
        for count in workers:
            with self.subTest(workers=count, words=words):
                job = jobs.RunFolder(self.folder / "job", sections or jobs.small_job("mlp"))
                if text is not None:
                    job.job_file.write_text(text.replace("DIR", str(job.dir)))
                result = job.train(*overrides, workers=count, expect=None, timeout=20)
                self.assertEqual(result.code, code, result)
                said = "\n".join(line for line in result.err.splitlines() if line.strip())
                for word in words:
                    self.assertIn(word, said)
                if lines:
                    self.assertEqual(len(result.ballast_lines()), lines, result)
                self.assertFalse(result.leftovers)


class TestJobFile(BadInputTest):
    def text(self, lines):
        return jobs.toml({**jobs.small_job("mlp"), "job": {"dir": "DIR", "steps": 3}}) + lines

    def test_unknown_key_with_position_and_suggestion(self):
        self.refused(CONFIG, "job.toml:2:", "sede", "seed", text='[job]\nsede = 1\ndir = "DIR"\nsteps = 3\n')

    def test_unknown_section(self):
        self.refused(CONFIG, "optimiser", "optimizer", text=self.text("[optimiser]\nlr = 1.0\n"))

    def test_wrong_type(self):
        self.refused(CONFIG, "job.toml:3:", "steps", text='[job]\ndir = "DIR"\nsteps = "many"\n')

    def test_out_of_range(self):
        self.refused(CONFIG, "batch.size", overrides=["batch.size=-4"])
        self.refused(CONFIG, "model.dropout", overrides=["model.dropout=1.5"])

    def test_duplicate_key(self):
        self.refused(CONFIG, "job.toml:3:", "seed", text='[job]\nseed = 1\nseed = 2\ndir = "DIR"\n')

    def test_every_error_at_once(self):
        text = '[job]\nsede = 1\ndir = "DIR"\nsteps = "many"\n[batch]\nsize = -1\n'
        self.refused(CONFIG, "sede", "steps", "size", ":2:", ":4:", ":6:", text=text, lines=0)

    def test_unknown_override(self):
        self.refused(CONFIG, "optimizer.rl", "lr", overrides=["optimizer.rl=1"])

    def test_batch_that_is_not_divisible(self):
        self.refused(CONFIG, "batch.size", "18", overrides=["batch.size=18"])

    def test_model_sizes_that_do_not_fit(self):
        self.refused(CONFIG, "width", "heads", sections=jobs.small_job("gpt"), overrides=["model.heads=3"])

    def test_unknown_model(self):
        self.refused(CONFIG, "perceptron", "mlp", "gpt", overrides=["model.name=perceptron"])

    def test_missing_job_file(self):
        result = jobs.run("train", self.folder / "absent.toml")
        self.assertEqual(result.code, CONFIG, result)
        self.assertIn("absent.toml", result.err)

    def test_more_workers_than_shards_with_two_ways_to_mend_it(self):
        self.refused(CONFIG, "start at most 1", "set batch.shards", overrides=["batch.shards=1"], workers=[2])

    def test_usage(self):
        for arguments in (["trian"], ["train"], ["verify"], ["train", "a.toml", "--no-such-flag"]):
            with self.subTest(arguments=arguments):
                result = jobs.run(*arguments)
                self.assertEqual(result.code, USAGE, result)


class TestData(BadInputTest):
    def images(self, images, labels, packed=False):
        folder = self.folder / "data"
        folder.mkdir(exist_ok=True)
        pack = gzip.compress if packed else bytes
        (folder / "train-images-idx3-ubyte").write_bytes(pack(images))
        (folder / "train-labels-idx1-ubyte").write_bytes(pack(labels))
        sections = jobs.small_job("mlp")
        sections["data"] = {"format": "idx", "train": str(folder / "train-images-idx3-ubyte"),
                            "train_labels": str(folder / "train-labels-idx1-ubyte")}
        return sections

    def test_sound_images_are_accepted(self):
        for packed in (False, True):
            pixels = bytes((7 * i) % 256 for i in range(64 * 64))
            sections = self.images(idx(pixels, 64, 8, 8), idx([i % 10 for i in range(64)], 64), packed)
            jobs.RunFolder(self.folder / f"sound-{packed}", sections).train()

    def test_missing_file(self):
        sections = self.images(b"", b"")
        sections["data"]["train"] = str(self.folder / "nowhere")
        self.refused(DATA, "nowhere", sections=sections)

    def test_empty_file(self):
        self.refused(DATA, "train-images", sections=self.images(b"", idx([1], 1)))

    def test_wrong_magic(self):
        self.refused(DATA, "train-images", "0", sections=self.images(b"\x12\x34\x56\x78" + bytes(4000), idx([1] * 64, 64)))

    def test_truncated_file(self):
        images = idx(bytes(64 * 64), 64, 8, 8)
        self.refused(DATA, "train-images", sections=self.images(images[:-5], idx([1] * 64, 64)))

    def test_label_out_of_range(self):
        labels = [1] * 64
        labels[20] = 10
        self.refused(DATA, "train-labels", "28", "10", sections=self.images(idx(bytes(64 * 64), 64, 8, 8), idx(labels, 64)))

    def test_fewer_labels_than_images(self):
        self.refused(DATA, "train-labels", sections=self.images(idx(bytes(64 * 64), 64, 8, 8), idx([1] * 63, 63)))

    def test_fewer_samples_than_one_batch(self):
        self.refused(DATA, "16", sections=self.images(idx(bytes(64 * 8), 8, 8, 8), idx([1] * 8, 8)))

    def test_token_out_of_range(self):
        path = self.folder / "tokens.bin"
        path.write_bytes(struct.pack("<600H", *[5] * 300, 64, *[5] * 299))
        sections = jobs.small_job("gpt")
        sections["data"] = {"format": "tokens", "train": str(path)}
        self.refused(DATA, "tokens.bin", "600", "64", sections=sections)

    def shards(self, third):
        """A job on four token files, of which the third holds `third`."""
        folder = self.folder / "corpus"
        folder.mkdir(exist_ok=True)
        header = struct.pack("<3I", 20240520, 1, 400) + bytes(1012)
        for number in range(4):
            (folder / f"train_{number}.bin").write_bytes(header + bytes(800) if number != 2 else third(header + bytes(800)))
        sections = jobs.small_job("gpt")
        sections["data"] = {"format": "tokens", "train": str(folder)}
        return sections

    def test_one_damaged_file_among_many(self):
        damages = {"1822": lambda file: file[:-2], "1824": lambda file: b"x" + file, "empty": lambda file: b"",
                   "header": lambda file: b"\0" + file[1:], "token 64": lambda file: file[:-2] + b"\x40\0"}
        for word, damage in damages.items():
            self.refused(DATA, "train_2.bin", word, sections=self.shards(damage))

    def test_pattern_and_folder_without_a_file(self):
        sections = self.shards(bytes)
        self.refused(DATA, "val_*.bin", "no file matches", sections=sections,
                     overrides=[f"data.train={self.folder}/corpus/val_*.bin"])
        (self.folder / "nothing").mkdir()
        self.refused(DATA, "nothing", "holds no files", sections=sections, overrides=[f"data.train={self.folder}/nothing"])

    def test_folder_of_images(self):
        sections = self.images(idx(bytes(64 * 64), 64, 8, 8), idx([1] * 64, 64))
        sections["data"]["train"] = str(self.folder / "data")
        self.refused(DATA, "idx", "one file", sections=sections)

    def test_chunks_without_shuffling(self):
        self.refused(CONFIG, "data.chunk", "data.shuffle", overrides=["data.chunk=8", "data.shuffle=false"])

    def test_data_the_model_cannot_eat(self):
        text = self.folder / "text"
        text.write_text("to be or not to be " * 100)
        sections = jobs.small_job("mlp")
        sections["data"] = {"format": "text", "train": str(text)}
        self.refused(CONFIG, "text", sections=sections)

    def test_other_data_on_resume(self):
        path = self.folder / "tokens.bin"
        sections = jobs.small_job("gpt")
        sections["data"] = {"format": "tokens", "train": str(path)}
        path.write_bytes(bytes(2000))
        job = jobs.RunFolder(self.folder / "resume", sections)
        job.train()
        path.write_bytes(bytes(1998) + b"\x01\x00")
        result = job.train("job.steps=9", expect=DATA)
        self.assertIn("data.train", result.err)


class TestCheckpoint(BadInputTest):
    def setUp(self):
        super().setUp()
        sections = jobs.small_job("mlp", steps=6)
        sections["checkpoint"] = {"every": 3, "keep": 3}
        self.job = jobs.RunFolder(self.folder / "run", sections)
        self.job.train()
        self.newest = self.job.checkpoints()[-1]

    def verify(self, folder):
        result = jobs.run("verify", folder, timeout=20)
        return result.code, result.err

    def damaged(self, change):
        """A copy of the newest checkpoint under its own name, changed."""
        copy = self.folder / "copy" / self.newest.name
        shutil.rmtree(copy.parent, ignore_errors=True)
        shutil.copytree(self.newest, copy)
        change(copy)
        return copy

    def test_one_flipped_byte_in_any_file(self):
        for name in ("weights.h5", "optimizer.h5", "state", "manifest.json"):
            size = (self.newest / name).stat().st_size
            for place in sorted({0, 8, 16, size // 3, size // 2, 2 * size // 3, size - 2, size - 1}):
                def flip(copy):
                    content = bytearray((copy / name).read_bytes())
                    content[place] ^= 0x20
                    (copy / name).write_bytes(content)
                with self.subTest(file=name, byte=place, of=size):
                    code, said = self.verify(self.damaged(flip))
                    self.assertIn(code, (DATA, VERSION), said)
                    self.assertIn(name, said)
                    self.assertEqual(len([line for line in said.splitlines() if line.strip()]), 1, said)

    def test_truncated_and_missing_files(self):
        for name in ("weights.h5", "optimizer.h5", "state", "manifest.json"):
            for keep in (0, 1, 100):
                with self.subTest(file=name, keep=keep):
                    code, said = self.verify(self.damaged(lambda copy: (copy / name).write_bytes((copy / name).read_bytes()[:keep])))
                    self.assertEqual(code, DATA, said)
            with self.subTest(file=name, missing=True):
                code, said = self.verify(self.damaged(lambda copy: (copy / name).unlink()))
                self.assertEqual(code, DATA, said)
                self.assertIn(name, said)

    def test_resuming_falls_back_to_an_older_one_with_a_warning(self):
        digest = self.job.digest()
        (self.newest / "weights.h5").write_bytes(b"not HDF5 at all")
        result = self.job.train(workers=2)
        self.assertIn(self.newest.name, result.err + (self.job.dir / "log").read_text())
        self.assertEqual(jobs.json_of("verify", self.job.dir)["step"], 6)
        self.assertEqual(self.job.digest(), digest, "the bits of the first run")

    def test_never_starts_afresh_when_all_are_damaged(self):
        for checkpoint in self.job.checkpoints():
            (checkpoint / "weights.h5").write_bytes(b"not HDF5 at all")
        before = [(path, path.stat().st_mtime_ns) for path in sorted((self.job.dir / "checkpoints").rglob("step-*/*"))]
        for workers in (0, 2):
            result = self.job.train("job.steps=9", workers=workers, expect=DATA)
            self.assertEqual(len(result.ballast_lines()), 1, result)
        after = [(path, path.stat().st_mtime_ns) for path in sorted((self.job.dir / "checkpoints").rglob("step-*/*"))]
        self.assertEqual(before, after)

    def test_checkpoint_of_another_model(self):
        before = {path: path.read_bytes() for path in self.job.dir.glob("checkpoints/*/*")}
        for workers in (0, 2):
            result = self.job.train("model.hidden=[40, 32]", "job.steps=9", workers=workers, expect=None)
            self.assertEqual(result.code, DATA, result)
            self.assertEqual(len(result.ballast_lines()), 1, result)
            for word in ("40", "48"):
                self.assertIn(word, result.err)
        self.assertEqual({path: path.read_bytes() for path in self.job.dir.glob("checkpoints/*/*")}, before)

    def test_more_workers_than_the_checkpoints_shards(self):
        result = jobs.RunFolder(self.folder / "run", self.job.sections).train("job.steps=9", workers=5, expect=CONFIG)
        self.assertIn("4", result.err)

    def test_a_run_folder_without_checkpoint(self):
        (self.folder / "nothing").mkdir()
        for command in ("verify", "eval", "inspect"):
            with self.subTest(command=command):
                result = jobs.run(command, self.folder / "nothing")
                self.assertEqual(result.code, DATA, result)
                self.assertIn("nothing", result.err)

    def test_a_folder_of_another_live_job(self):
        sections = jobs.small_job("gpt", steps=100000)
        job = jobs.RunFolder(self.folder / "live", sections)
        first = job.start()
        try:
            jobs.wait_for(lambda: job.last_step() >= 2 or first.process.poll() is not None)
            result = job.train(expect=BUSY)
            self.assertEqual(len(result.ballast_lines()), 1, result)
        finally:
            first.process.terminate()
            self.assertEqual(first.wait(timeout=20).code, 75)


del BadInputTest  # a base, no test of its own


if __name__ == "__main__":
    jobs.main()
