"""What training and `bench network` find out about the links between hosts, and what follows from it: nothing for the bits."""
import json
import os
import re
import signal
import time
import unittest

import hosts
import jobs

MEGABYTES = 12.5  # a second at 100 Mbit/s, frames included
NOTICE = re.compile(r"(\d+) nodes: latency ([\d.]+) us, ([\d.]+) MB/s each way, ([\d.]+) us a piece: buckets of ([\d.]+) MiB \(comm\.bucket_mib\)")


@unittest.skipIf(hosts.missing(), hosts.missing())
class TestNetwork(jobs.SystemTest):
    def run_folder(self, name, steps):
        sections = jobs.small_job("gpt", "bf16", steps)
        sections["schedule"] = {"name": "constant"}  # the same for any number of steps
        return jobs.RunFolder(self.folder / name, sections)

    def notice(self, text):
        found = NOTICE.search(text)
        self.assertTrue(found, text)
        nodes, bucket = int(found[1]), float(found[5])
        latency, rate, piece = map(float, found.groups()[1:4])
        return nodes, latency, rate, piece, bucket

    def test_training_says_what_it_measured_and_chose_and_keeps_its_bits(self):
        alone = self.run_folder("alone", 14)
        result = alone.train()
        self.assertNotRegex(result.out + result.err + (alone.dir / "log").read_text(), "bucket_mib", "nothing travels")
        job = self.run_folder("hosts", 7)
        with hosts.Hosts(3, self.folder, rate="100mbit") as group:
            result = job.train("compute.threads=1", "log.progress=lines", prefix=group.mpirun([1, 2, 1]))
            nodes, latency, rate, piece, bucket = self.notice(result.out + result.err)
            self.assertEqual(nodes, 3, "hosts, not workers")
            self.assertTrue(0.75 * MEGABYTES <= rate <= 1.25 * MEGABYTES, f"{rate} MB/s")
            self.assertTrue(0 < piece < 10000 and 0 < latency < 100000, f"{piece} us a piece, {latency} us")
            self.assertEqual(bucket, 1, "a small gradient on a slow link")
            self.assertEqual(self.notice((job.dir / "log").read_text())[2], rate)
            self.assertIn('bucket_mib = "auto"', (job.dir / "config.toml").read_text())
            job.sections["job"]["steps"] = 14
            job.write(job.sections)
            job.train("compute.threads=1", prefix=group.mpirun([2, 1, 1]))
        self.assertEqual(len(NOTICE.findall((job.dir / "log").read_text())), 2, "a resumed job measures anew")
        self.assertEqual((job.digest(), job.losses()), (alone.digest(), alone.losses()))

    def test_a_host_that_stops_while_links_are_measured_is_named(self):
        job = self.run_folder("stopped", 7)
        with hosts.Hosts(2, self.folder, rate="2mbit") as group:  # some 12 s
            running = job.start("compute.threads=1", "watch.timeout=1", prefix=group.mpirun([1, 1]))
            jobs.wait_for(lambda: len(list((job.dir / "flight").glob("*"))) == 2, what="both workers' recorders")
            time.sleep(2)
            os.kill(running.workers()[1], signal.SIGSTOP)
            result = running.wait()
        self.assertEqual(result.code, 79, result)
        self.assertRegex(result.err, r"no progress .* rank (\d) on h\d .* before the first step( \(number \d+ of its group\))?; rank \d waits for it")

    def test_bench_network_finds_the_rate_of_the_links(self):
        with hosts.Hosts(3, self.folder, rate="100mbit") as group:
            result = jobs.Job(["bench", "network", "--json", "--threads", "1", "--seconds", "4"], prefix=group.mpirun([1, 1, 1])).wait()
        self.assertEqual(result.code, 0, result)
        found = json.loads(result.out)
        self.assertEqual(found["nodes"], 3)
        self.assertEqual([row["pattern"] for row in found["rows"]], ["ring", "rotation", "swap"])
        self.assertTrue(0.75 * MEGABYTES <= found["bytes_per_second"] / 1e6 <= 1.25 * MEGABYTES, found)
        self.assertTrue(0 < found["piece_seconds"] < 0.01 and 0 < found["latency_seconds"] < 0.1, found)


if __name__ == "__main__":
    jobs.main()
