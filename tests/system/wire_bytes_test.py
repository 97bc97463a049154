"""What leaves a host in a step, by the byte counters of its link, against the least that an all-reduce can do.

Headers of Ethernet, IP and TCP are taken off for every packet, and what TCP sends again where processes come late. Two runs of different length are compared, so what
the start and the end of a job send does not count.
"""
import unittest

import hosts
import jobs

STEPS = 4, 16
ALLOWED = 1.02
# Bytes of the codes of a gradient over those of the gradient in f32.
FRACTIONS = {"none": 1.0, "bf16": 0.5, "int8": 0.254, "int4": 0.141, "topk": 0.05, "sign": 0.0315}


@unittest.skipIf(hosts.missing(), hosts.missing())
class TestWireBytes(jobs.SystemTest):
    def job(self, name, precision, sections, steps):
        job = jobs.small_job("gpt", precision, steps)
        job["model"].update(width=256, layers=3, context=8, vocabulary=64, dropout=0.0)
        job["data"] = {"format": "synthetic", "samples": 64, "validation": 0.0}
        job["batch"] = {"size": 8, "shards": 8}
        job["checkpoint"] = {"every": 0}
        job["watch"] = {"values": 0}
        job["comm"] = {"bucket_mib": 2}  # "auto" would measure the link, and not send the same at every start
        for section, keys in sections.items():
            job.setdefault(section, {}).update(keys)
        return jobs.RunFolder(self.folder / name, job)

    def payload_of_a_step(self, slots, precision, sections):
        """(most that leaves a host, what `ballast plan` says)"""
        sent = []
        with hosts.Hosts(len(slots), self.folder) as group:
            for steps in STEPS:
                job = self.job(f"{'-'.join(map(str, slots))}-{precision}-{steps}-{len(list(self.folder.iterdir()))}", precision, sections, steps)
                before = group.payload_sent()
                job.train("compute.threads=1", prefix=group.mpirun(slots))
                sent.append([after - start for after, start in zip(group.payload_sent(), before)])
        longer = [(most - least) / (STEPS[1] - STEPS[0]) for least, most in zip(*sent)]
        return max(longer), jobs.json_of("plan", job.job_file, "--workers", len(slots))

    def check(self, slots, precision, sections=None, fraction=1.0):
        payload, plan = self.payload_of_a_step(slots, precision, sections or {})
        count, parameters = len(slots), plan["parameters"]
        gradient, values = 4 * parameters * fraction, (2 if precision == "bf16" else 4) * parameters
        least = (gradient + values) * (count - 1) / count
        print(f"{slots} {precision} {sections or ''}: {payload / 1e6:.3f} MB a step, {payload / least:.4f} of the least")
        self.assertLess(payload, ALLOWED * least, (slots, precision, sections))
        self.assertGreater(payload, 0.98 * least, "the counters count")

    def test_as_few_as_an_all_reduce_can_send(self):
        self.check([1, 1], "f32")
        self.check([1, 1, 1, 1], "f32")
        self.check([1, 1], "bf16")

    def test_workers_of_a_host_send_no_more_than_one(self):
        self.check([2, 2], "f32")
        self.check([4, 4], "bf16")

    def test_compressed_gradients_are_as_small_as_stated(self):
        for compression, fraction in FRACTIONS.items():
            if compression != "none":
                self.check([1, 1], "f32", {"comm": {"compression": compression, "keep": 0.05, "groups": 2}}, fraction)

    def test_exchanges_of_copies_send_what_the_plan_says(self):
        for outer in ({"every": 4}, {"every": 4, "fragments": 2, "delay": 1}):
            for compression in ("none", "int4"):
                payload, plan = self.payload_of_a_step([1, 1], "f32", {"comm": {"compression": compression, "groups": 2}, "outer": outer})
                print(f"{outer} {compression}: {payload / 1e6:.4f} MB a step, {payload / plan['wire_bytes_per_step']:.4f} of the plan")
                self.assertLess(payload, ALLOWED * plan["wire_bytes_per_step"])
                self.assertGreater(payload, 0.98 * plan["wire_bytes_per_step"])


if __name__ == "__main__":
    jobs.main()
