"""`ballast launch`: whatever dies, the job ends with the bits of the undisturbed run, and leaves nothing behind."""
import os
import pathlib
import re
import signal
import time
import unittest

import hosts
import jobs
import machines


def long_job(steps, every=40):
    """Steps of some milliseconds, so that incidents find the job at work."""
    sections = jobs.small_job("gpt", "f32", steps=steps)
    sections["model"].update(width=64, context=32)
    sections["checkpoint"] = {"every": every, "keep": 2}
    sections["compute"] = {"threads": 1}
    return sections


def tree(root):
    """The processes below `root`, as {pid: arguments}."""
    children = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"\) \S (\d+)", (entry / "stat").read_text()).group(1))
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, AttributeError):
            continue
        if arguments[0]:
            children.setdefault(parent, {})[int(entry.name)] = arguments
    found, below = {}, [root]
    while below:
        some = children.get(below.pop(), {})
        found.update(some)
        below += some
    return found


def processes_naming(text):
    """Live processes with `text` on their command lines or in their environments: a job's, by its launch or its files."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid() and text in ((entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()).decode(errors="replace"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
        except OSError:
            pass
    return found


class Launched:
    """A running `ballast launch`."""

    def __init__(self, job, *options, prefix=(), settings=()):
        self.job = job
        command = [*options, job.job_file, *settings]
        self.running = jobs.Job(["launch", *command], prefix=prefix)

    @property
    def pid(self):
        return self.running.process.pid

    def alive(self):
        return self.running.process.poll() is None

    def mpirun(self):
        return [pid for pid, arguments in tree(self.pid).items() if arguments[0] == "mpirun"]

    def workers(self):
        """Of this machine."""
        return [pid for pid, arguments in tree(self.pid).items() if arguments[0].endswith("/ballast") and arguments[1] == "train"]

    def reach(self, step, seconds=30):
        jobs.wait_for(lambda: self.job.last_step() >= step or not self.alive(), seconds, what=f"step {step}")

    def incidents(self):
        log = self.job.dir / "log"
        return re.findall(r"^\S+ launch: (.*)$", log.read_text(), re.M) if log.exists() else []


class LaunchTest(jobs.SystemTest):
    def check_clean(self, launched, result):
        self.assertFalse(result.leftovers, "processes outlive launch")
        jobs.wait_for(lambda: not processes_naming(str(launched.job.folder)), seconds=15, what="the end of every process of the job")
        left = [name for name in os.listdir("/dev/shm") if name.startswith("ballast-launch-") and name.endswith(f"-{launched.pid}")]
        self.assertFalse(left, "shared memory is left behind")

    def undisturbed(self, sections, timeout=60):
        whole = jobs.RunFolder(self.folder / "whole", sections)
        whole.train(workers=2, timeout=timeout)
        return whole.digest(), whole.losses()

    def check_same_bits(self, launched, whole, timeout=90):
        result = launched.running.wait(timeout)
        self.assertEqual(result.code, 0, result)
        self.check_clean(launched, result)
        self.assertEqual((launched.job.digest(), launched.job.losses()), whole)
        return result


class TestLaunch(LaunchTest):
    def job(self, name, sections):
        return jobs.RunFolder(self.folder / name, sections)

    def test_workers_and_mpirun_die(self):
        sections = long_job(1000)
        whole = self.undisturbed(sections)
        launched = Launched(self.job("killed", sections), "-n", 3)
        pauses = []
        for number, victim in enumerate(["worker", "mpirun", "stopped and mpirun", "all"]):
            launched.reach(200 * number + 100)
            workers = launched.workers()
            self.assertEqual(len(workers), 3)
            if "stopped" in victim:
                os.kill(workers[0], signal.SIGSTOP)
            victims = {"worker": workers[-1:], "all": workers}.get(victim, launched.mpirun())
            before = (launched.job.dir / "config.toml").stat().st_mtime_ns
            died = time.monotonic()
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            # The first step of the next start is always reported.
            metrics = launched.job.dir / "metrics.jsonl"
            jobs.wait_for(lambda: (launched.job.dir / "config.toml").stat().st_mtime_ns != before, what="the next start")
            again = metrics.stat().st_size
            jobs.wait_for(lambda: metrics.stat().st_size > again, what="a step")
            pauses.append(time.monotonic() - died)
            self.assertEqual(len(launched.incidents()), number + 1, launched.incidents())
        print("seconds from a death to the next step:", [round(pause, 1) for pause in pauses])
        self.assertLess(max(pauses), 10)
        self.check_same_bits(launched, whole)
        lines = launched.incidents()
        self.assertRegex(lines[0], r"^worker 2 on \S+ ended by signal 9 \(Killed\); going on from step \d+ with 3 workers")
        self.assertRegex(lines[1], r"^mpirun was ended by signal 9 \(Killed\); going on from step \d+ with 3 workers")
        self.assertEqual(len(lines), 4)

    def test_a_stopped_worker_is_a_hang(self):
        sections = long_job(400)
        whole = self.undisturbed(sections)
        launched = Launched(self.job("stopped", sections), "-n", 2, "--hang", "3s")
        launched.reach(100)
        os.kill(launched.workers()[1], signal.SIGSTOP)
        self.check_same_bits(launched, whole)
        self.assertEqual(len(launched.incidents()), 1)
        self.assertRegex(launched.incidents()[0], "^no progress for 3s; going on from step")

    def test_shards_of_the_first_start_stay(self):
        sections = long_job(300, every=1000)  # no checkpoint before the end
        del sections["batch"]["shards"]
        job = self.job("shards", sections)
        launched = Launched(job, "-n", 3)
        launched.reach(20)
        os.kill(launched.workers()[0], signal.SIGKILL)
        result = launched.running.wait(60)
        self.assertEqual(result.code, 0, result)
        sections["batch"]["shards"] = 4
        self.assertEqual((job.digest(), job.losses()), self.undisturbed(sections))
        self.assertIn("going on from the beginning", launched.incidents()[0])

    def test_signals_save_and_stop(self):
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            job = self.job(str(number), long_job(100000, every=100000))
            launched = Launched(job, "-n", 6)
            launched.reach(5)
            self.assertEqual(len(launched.workers()), 4, "no more workers than shards")
            launched.running.signal(number)
            result = launched.running.wait(20)
            self.assertEqual(result.code, 75, result)
            self.check_clean(launched, result)
            self.assertEqual(len(job.checkpoints()), 1)
            self.assertEqual(launched.incidents(), [])

    def test_a_second_signal_ends_at_once(self):
        launched = Launched(self.job("hasty", long_job(100000)), "-n", 2)
        launched.reach(5)
        for pid in launched.workers():
            os.kill(pid, signal.SIGSTOP)
        launched.running.signal(signal.SIGINT)
        time.sleep(0.5)
        self.assertTrue(launched.alive())
        launched.running.signal(signal.SIGINT)
        result = launched.running.wait(10)
        self.assertEqual(result.code, 128 + signal.SIGINT, result)
        self.check_clean(launched, result)

    def test_nothing_outlives_launch_itself(self):
        launched = Launched(self.job("orphans", long_job(100000)), "-n", 2)
        launched.reach(5)
        launched.running.signal(signal.SIGKILL)
        result = launched.running.wait(10)
        self.assertEqual(result.code, -signal.SIGKILL)
        jobs.wait_for(lambda: not processes_naming(str(launched.job.folder)), seconds=10, what="the end of the job")
        again = Launched(launched.job, "-n", 1, settings=[f"job.steps={launched.job.last_step() + 50}"])
        self.assertEqual(again.running.wait(30).code, 0)
        for folder in pathlib.Path("/dev/shm").glob(f"ballast-launch-*-{launched.pid}"):
            folder.rmdir()  # nobody was left to remove it; it is empty

    def test_an_allocation_of_slurm(self):
        scontrol = self.folder / "scontrol"
        scontrol.write_text("#!/bin/sh\necho node1; echo node2; echo node3\n")
        scontrol.chmod(0o755)
        variables = {"PATH": f"{self.folder}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_TASKS_PER_NODE": "2(x2),1"}
        result = jobs.run("launch", "--dry-run", self.job("slurm", long_job(10)).job_file, variables=variables)
        self.assertEqual(result.code, 0, result)
        self.assertIn(" --host node1:2,node2:1,node3:1 -n 4 ", result.out)  # room for five, but four shards

    def test_what_would_fail_again_is_not_tried_again(self):
        result = jobs.run("launch", "-n", 2, self.job("typo", long_job(10)).job_file, "optimizer.rl=1")
        self.assertEqual(result.code, 78, result)
        tokens = self.folder / "tokens.bin"
        tokens.write_bytes(bytes(10))
        sections = long_job(10)
        sections["data"] = {"format": "tokens", "train": str(tokens)}
        launched = Launched(self.job("data", sections), "-n", 2)
        result = launched.running.wait(20)
        self.assertEqual(result.code, 65, result)
        self.check_clean(launched, result)
        self.assertEqual(result.err.count("this is not tried again"), 1, result)

    def test_giving_up_after_starts_without_progress(self):
        job = self.job("doomed", long_job(100000, every=100000))
        launched = Launched(job, "-n", 2, "--restarts", 1)
        for start in range(2):
            config = job.dir / "config.toml"
            jobs.wait_for(lambda: len(launched.incidents()) == start and config.exists() and len(launched.workers()) == 2, what="a start")
            os.kill(launched.workers()[0], signal.SIGKILL)
        result = launched.running.wait(40)
        self.assertEqual(result.code, 128 + signal.SIGKILL, result)
        self.check_clean(launched, result)
        self.assertRegex(launched.incidents()[1], r"^worker \d on \S+ ended by signal 9 \(Killed\); it came to no new checkpoint in 2 starts: giving up$")


@unittest.skipIf(hosts.missing(), hosts.missing())
class TestHostsComeAndGo(LaunchTest):
    def launch(self, group, job, *options):
        where = ",".join(f"{address}:1" for address in group.addresses)
        return Launched(job, "--hosts", where, "--agent", group.agent, "--network", machines.NETWORK, "--mpirun", "--mca btl self,vader,tcp",
                        "--probe-every", "1s", "--answer-within", "2s", *options, prefix=group.prefix())

    def test_links_fail_and_hosts_crash_and_return(self):
        sections = long_job(1600)
        whole = self.undisturbed(sections)
        job = jobs.RunFolder(self.folder / "lost", sections)
        with machines.Machines(3, self.folder) as group:
            launched = self.launch(group, job)
            for number, (lose, regain) in enumerate([(group.cut, group.restore), (group.crash, group.boot)]):
                launched.reach(job.last_step() + 100)
                lose(1 + number)
                lost = time.monotonic()
                jobs.wait_for(lambda: len(launched.incidents()) == 2 * number + 1 or not launched.alive(), what="going on without the host")
                print(f"seconds to go on without a lost host: {time.monotonic() - lost:.1f}")
                self.assertLess(time.monotonic() - lost, 12)
                launched.reach(job.last_step() + 60)
                regain(1 + number)
                jobs.wait_for(lambda: len(launched.incidents()) == 2 * number + 2 or not launched.alive(), what="growing again")
            self.check_same_bits(launched, whole)
            lines = launched.incidents()
            for number in range(2):
                host = group.addresses[1 + number]
                self.assertRegex(lines[2 * number], rf"; {host} does not answer; going on from step \d+ with 2 workers")
                self.assertRegex(lines[2 * number + 1], rf"^{host} is back; going on from step \d+ with 3 workers")
            self.assertEqual(len(lines), 4)

    def test_too_few_hosts(self):
        job = jobs.RunFolder(self.folder / "few", long_job(100000))
        with machines.Machines(2, self.folder) as group:
            launched = self.launch(group, job, "--min-workers", 2, "--wait-for-hosts", "2s")
            launched.reach(20)
            group.crash(1)
            result = launched.running.wait(40)
            self.assertEqual(result.code, 75, result)
            self.check_clean(launched, result)
            self.assertIn("fewer than 2", launched.incidents()[-1])


if __name__ == "__main__":
    jobs.main()
