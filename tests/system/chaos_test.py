"""Hosts, links, daemons, workers and mpirun fail at random under `ballast launch`: the job ends by itself with the bits of the undisturbed run.

chaos_test.py MINUTES     about so long; CHAOS_TEST_SEED chooses the incidents
"""
import calendar
import os
import pathlib
import random
import re
import signal
import statistics
import sys
import threading
import time
import unittest

import hosts
import jobs
import launch_test
import machines

MEAN_PAUSE = 8.0  # seconds between incidents
WORKING = 0.45  # of the time, about: the rest goes into incidents
EXPLAINED = 25.0  # seconds within which an incident has its line
OUTAGE = (12.0, 25.0)  # seconds; longer than it takes to notice


def chaos_job(steps):
    sections = jobs.small_job("gpt", "f32", steps=steps)
    sections["model"].update(width=96, context=64)
    sections["checkpoint"] = {"every": "2s", "keep": 3}
    sections["compute"] = {"threads": 1}
    sections["log"]["every"] = 5
    sections["schedule"] = {"name": "constant"}
    return sections


class Incidents(threading.Thread):
    """Strikes until the job ends. `struck`: (time, what, whether it must be explained)."""

    KINDS = ["worker", "worker", "all workers", "mpirun", "daemon", "stop", "cut", "crash", "cut off", "flap"]

    def __init__(self, group, launched, seed):
        super().__init__(daemon=True)
        self.group, self.launched, self.choose = group, launched, random.Random(seed)
        self.mark = f"ballast-launch-h1-{launched.pid}"
        self.struck, self.returns, self.steps = [], [], []  # steps: the times of new lines in metrics.jsonl
        self.down = {}  # host: (when it returns, how)

    def run(self):
        next_time = time.time() + self.choose.expovariate(1 / MEAN_PAUSE)
        size = 0
        while self.launched.alive():
            time.sleep(0.02)
            now = time.time()
            metrics = self.launched.job.dir / "metrics.jsonl"
            if metrics.exists() and metrics.stat().st_size != size:
                size = metrics.stat().st_size
                self.steps.append(now)
            for host in [host for host, (when, _how) in self.down.items() if when <= now]:
                self.down.pop(host)[1](host)
                self.returns.append(time.time())
            if now >= next_time:
                self.strike(self.choose.choice(self.KINDS))
                next_time = time.time() + self.choose.expovariate(1 / MEAN_PAUSE)
        for host, (_when, how) in self.down.items():
            how(host)

    def processes(self, kind):
        """Of this launch, on whatever host."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            ours = str(self.launched.job.folder) in " ".join(words) or self.mark in " ".join(words)
            name = "worker" if words[0].endswith("/ballast") and words[1:2] == ["train"] else words[0]
            if ours and name == kind:
                found.append(int(entry.name))
        return sorted(found)

    def kill(self, victims, number=signal.SIGKILL):
        for pid in victims:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return bool(victims)

    def strike(self, kind):
        time_of_it, what, certain = time.time(), kind, True
        up = [host for host in range(1, self.group.count) if host not in self.down]
        if kind in ("worker", "stop"):
            victims = self.choose.sample(self.processes("worker"), min(1, len(self.processes("worker"))))
            certain = self.kill(victims, signal.SIGKILL if kind == "worker" else signal.SIGSTOP)
        elif kind == "all workers":
            certain = self.kill(self.processes("worker"))
        elif kind == "mpirun":
            certain = self.kill(self.processes("mpirun"))
        elif kind == "daemon":
            daemons = self.processes("orted")
            certain = self.kill(self.choose.sample(daemons, min(1, len(daemons))))
        elif kind == "cut off" and not self.down:
            self.group.cut(0)
            self.down[0] = (time_of_it + self.choose.uniform(*OUTAGE), self.group.restore)
        elif kind == "flap" and up:
            host = self.choose.choice(up)
            self.group.cut(host)
            time.sleep(self.choose.uniform(0.1, 0.8))
            self.group.restore(host)
            certain = False  # TCP gets over it
        elif kind in ("cut", "crash") and up and 0 not in self.down:
            host = self.choose.choice(up)
            {"cut": self.group.cut, "crash": self.group.crash}[kind](host)
            self.down[host] = (time_of_it + self.choose.uniform(*OUTAGE), {"cut": self.group.restore, "crash": self.group.boot}[kind])
            what = f"{kind} h{host + 1}"
        else:
            return
        self.struck.append((time_of_it, what, certain))


@unittest.skipIf(hosts.missing(), hosts.missing())
class TestChaos(launch_test.LaunchTest):
    minutes = 1.0

    def launch(self, group, job):
        where = f"{group.addresses[0]}:2," + ",".join(f"{address}:1" for address in group.addresses[1:])
        return launch_test.Launched(job, "--hosts", where, "--agent", group.agent, "--network", machines.NETWORK, "--mpirun",
                                    "--mca btl self,vader,tcp", "--probe-every", "1s", "--answer-within", "2s", "--hang", "8s",
                                    "--restarts", 20, prefix=group.prefix())

    def steps_per_second(self, group):
        job = jobs.RunFolder(self.folder / "rate", chaos_job(100000))
        launched = self.launch(group, job)
        launched.reach(10)
        first, started = job.last_step(), time.monotonic()
        time.sleep(4)
        rate = (job.last_step() - first) / (time.monotonic() - started)
        launched.running.signal(signal.SIGTERM)
        self.assertEqual(launched.running.wait(30).code, 75)
        return rate

    def lines(self, launched):
        """[(time, text)] of what launch said."""
        found = re.findall(r"^(\S+)Z launch: (.*)$", (launched.job.dir / "log").read_text(), re.M)
        return [(calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S")), text) for stamp, text in found]

    def test_chaos(self):
        seed = int(os.environ.get("CHAOS_TEST_SEED", "20240229"))
        with machines.Machines(3, self.folder) as group:
            rate = self.steps_per_second(group)
            steps = max(100, int(60 * self.minutes * rate * WORKING))
            job = jobs.RunFolder(self.folder / "chaos", chaos_job(steps))
            launched = self.launch(group, job)
            incidents = Incidents(group, launched, seed)
            incidents.start()
            started = time.monotonic()
            result = launched.running.wait(60 * self.minutes * 6 + 120)
            incidents.join()
            lines = self.lines(launched)
            self.report(incidents, lines, steps, rate, time.monotonic() - started, seed)
            self.assertEqual(result.code, 0, result)
            self.check_clean(launched, result)
        whole = self.undisturbed(chaos_job(steps), timeout=60 * self.minutes + 120)
        self.assertEqual((job.digest(), job.losses()[-1]), (whole[0], whole[1][-1]))
        print("digest", whole[0], "equals the undisturbed run's")
        self.check_explained(incidents, lines)

    def check_explained(self, incidents, lines):
        causes = [when for when, _what, _certain in incidents.struck] + incidents.returns
        for when, what, certain in incidents.struck:
            near = [text for at, text in lines if when - 1.5 <= at <= when + EXPLAINED]
            self.assertTrue(near or not certain, f"no line explains {what} at {when:.1f}")
        for at, text in lines:
            self.assertTrue([when for when in causes if when - 1.5 <= at <= when + EXPLAINED + 15], f"nothing explains the line {text}")

    def report(self, incidents, lines, steps, rate, seconds, seed):
        print(f"seed {seed} (CHAOS_TEST_SEED); {steps} steps at {rate:.0f} a second undisturbed; {seconds:.0f} s with {len(incidents.struck)} incidents, "
              f"{len(incidents.returns)} returns, {len(lines)} lines")
        delays = {}
        for when, what, _certain in incidents.struck:
            said = [at for at, _text in lines if at >= when - 1.0]
            again = [at for at in incidents.steps if said and at > max(said[0], when + 0.1)]
            if again:
                delays.setdefault(what.split()[0] if what.startswith(("cut h", "crash h")) else what, []).append(again[0] - when)
        for kind, values in sorted(delays.items()):
            print(f"  {kind}: {len(values)} times, to the next step {statistics.median(values):.1f} s (median), {max(values):.1f} s (longest)")
        for when, what, _certain in incidents.struck:
            print(f"  {when:.1f} {what}")
        for when, text in lines:
            print(f"  {when:.1f} > {text}")




if __name__ == "__main__":
    if len(sys.argv) > 1:
        TestChaos.minutes = float(sys.argv.pop(1))
    jobs.main()
