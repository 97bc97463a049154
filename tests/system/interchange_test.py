"""Others read weights.h5: h5dump and h5py see ordinary datasets with the values that `ballast inspect` reports."""
import array
import math
import shutil
import subprocess
import unittest

import jobs

try:
    import h5py
except ImportError:
    h5py = None


class TestInterchange(jobs.SystemTest):
    def setUp(self):
        super().setUp()
        self.job = jobs.RunFolder(self.folder / "job", jobs.small_job("gpt", "bf16"))
        self.job.train(workers=2)
        self.weights = self.job.checkpoints()[-1] / "weights.h5"
        self.tensors = jobs.json_of("inspect", self.job.dir)["tensors"]
        self.assertGreater(len(self.tensors), 20)

    def compare(self, tensor, values):
        """`values` is the dataset as a flat sequence of floats."""
        self.assertEqual(len(values), math.prod(tensor["shape"]), tensor["name"])
        self.assertEqual(min(values), tensor["min"], tensor["name"])
        self.assertEqual(max(values), tensor["max"], tensor["name"])
        norm = math.sqrt(math.fsum(value * value for value in values))
        self.assertAlmostEqual(norm, tensor["norm"], delta=1e-6 * (norm + 1e-30), msg=tensor["name"])

    @unittest.skipIf(not shutil.which("h5dump"), "h5dump is absent (package hdf5-tools)")
    def test_h5dump_reads_every_dataset(self):
        listing = subprocess.run(["h5dump", "-n", self.weights], check=True, capture_output=True, text=True).stdout
        names = sorted(line.split("/", 1)[1].strip() for line in listing.splitlines() if line.strip().startswith("dataset"))
        self.assertEqual(names, sorted(tensor["name"] for tensor in self.tensors))
        for tensor in self.tensors:
            raw = self.folder / "raw"
            subprocess.run(["h5dump", "-d", "/" + tensor["name"], "-b", "LE", "-o", raw, self.weights], check=True, capture_output=True)
            self.compare(tensor, array.array("f", raw.read_bytes()))

    @unittest.skipIf(h5py is None, "h5py is absent (package python3-h5py)")
    def test_h5py_reads_every_dataset(self):
        with h5py.File(self.weights) as file:
            self.assertEqual(sorted(file), sorted(tensor["name"] for tensor in self.tensors))
            for tensor in self.tensors:
                dataset = file[tensor["name"]]
                self.assertEqual(list(dataset.shape), tensor["shape"])
                self.assertEqual(str(dataset.dtype), "float32")
                self.assertIsNone(dataset.chunks, "contiguous")
                self.compare(tensor, [float(value) for value in dataset[...].ravel()])


if __name__ == "__main__":
    jobs.main()
