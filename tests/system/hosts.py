"""Several hosts on one machine: network namespaces on a bridge, each with its own host name and MPI daemon. Needs root."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HEADERS = 14 + 20 + 32  # of a frame: Ethernet, IP, TCP with timestamps
SEGMENT = 1500 - (HEADERS - 14)  # payload of a full one


def missing():
    """Why hosts cannot be played here, or an empty text."""
    if os.getuid() != 0:
        return "playing several hosts needs root (network namespaces)"
    for tool in ("ip", "tc", "unshare"):
        if not shutil.which(tool):
            return f"playing several hosts needs the program `{tool}`"
    probe = f"ballast-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode != 0:
        return f"playing several hosts needs network namespaces: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return ""


class Hosts:
    """A context manager. mpirun(slots) is the command that starts slots[i] workers on host i.

    `rate`, in the words of tc ("1gbit"), limits each direction of each host's link; None: as fast as the kernel is. `delay_ms`: how much later
    everything arrives on the other side; 0: a bridge of the kernel's, else the program that DELAY_RELAY names.
    """

    def __init__(self, count, folder, rate=None, delay_ms=0):
        self.count = count
        self.rate = rate
        self.delay_ms = delay_ms
        self.relay = None
        self.names = [f"ballast-{os.getpid()}-h{i + 1}" for i in range(count)]
        self.switch = f"ballast-{os.getpid()}-switch"
        self.agent = pathlib.Path(folder) / "agent"

    def __enter__(self):
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # which would leave the hosts behind
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            self._build()
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(self, *_exception):
        self._tear_down()

    def _build(self):
        self._ip("netns", "add", self.switch)
        if not self.delay_ms:
            self._ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
            self._ip("-n", self.switch, "link", "set", "bridge", "up")
        for i, name in enumerate(self.names):
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
            self._ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{i + 1}", "netns", self.switch)
            self._ip("-n", name, "addr", "add", f"10.99.0.{i + 1}/24", "dev", "eth0")
            self._ip("-n", name, "link", "set", "eth0", "up")
            self._ip("-n", self.switch, "link", "set", f"port{i + 1}", *([] if self.delay_ms else ["master", "bridge"]), "up")
            self._send_large_segments(i)
            if self.rate:
                self._limit(name, "eth0")
                self._limit(self.switch, f"port{i + 1}")
        if self.delay_ms:
            ports = [f"port{i + 1}" for i in range(self.count)]
            self.relay = subprocess.Popen(["ip", "netns", "exec", self.switch, os.environ["DELAY_RELAY"], str(self.delay_ms), *ports],
                                          stdout=subprocess.PIPE, text=True)
            if self.relay.stdout.readline() != "ready\n":
                raise RuntimeError("the relay did not start")
        # What ssh would do: run the daemon's command line on the host with that address.
        self.agent.write_text(f"""#!/bin/sh
host=h${{1##*.}}
shift
exec ip netns exec ballast-{os.getpid()}-$host unshare --uts sh -c "hostname $host; $*"
""")
        self.agent.chmod(0o755)

    def _send_large_segments(self, host):
        """TCP cuts what leaves for slow or distant hosts into segments of a millisecond. The kernel's work for each would come off the processors of this one machine, which workers
        share with every host's network, the shapers and the relay. Where Linux is older than 5.18, or its settings cannot be written, it stays so."""
        setting = "/proc/sys/net/ipv4/tcp_tso_rtt_log"  # as large as an interface takes, for round trips below 2^30 us
        self.run(host, "sh", "-c", f"[ ! -w {setting} ] || echo 30 > {setting}")

    def _limit(self, namespace, device):
        subprocess.run(["tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate", self.rate, "burst", "256kb",
                        "latency", "50ms"], check=True, capture_output=True, text=True)

    def bytes_sent(self):
        """By host: what has left through its link, in bytes of Ethernet frames."""
        return [int(self.run(host, "cat", "/sys/class/net/eth0/statistics/tx_bytes")) for host in range(self.count)]

    def payload_sent(self):
        """By host: bytes without headers of Ethernet, IP and TCP, and without segments that TCP has sent again. A frame that the kernel has not cut up yet counts as one."""
        return [self._payload_sent(host) for host in range(self.count)]

    def _payload_sent(self, host):
        frames = [f"/sys/class/net/eth0/statistics/tx_{what}" for what in ("bytes", "packets")]
        sent, count, *lines = self.run(host, "cat", *frames, "/proc/net/snmp").split("\n")
        names, numbers = (line.split() for line in lines if line.startswith("Tcp:"))
        again = int(dict(zip(names, numbers))["RetransSegs"])
        return int(sent) - HEADERS * int(count) - SEGMENT * again

    def run(self, host, *command):
        """The command's output, run on that host."""
        return subprocess.run(["ip", "netns", "exec", self.names[host], *command], check=True, capture_output=True, text=True).stdout

    def _tear_down(self):
        if self.relay:
            self.relay.terminate()
            self.relay.wait()
            self.relay.stdout.close()
        for name in [*self.names, self.switch]:
            subprocess.run(["ip", "netns", "del", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def mpirun(self, slots):
        hosts = ",".join(f"10.99.0.{i + 1}:{slots[i]}" for i in range(len(slots)))
        network = "10.99.0.0/24"
        return ["ip", "netns", "exec", self.names[0], "unshare", "--uts", "sh", "-c", 'hostname h1; exec "$@"', "sh",
                "mpirun", "--mca", "plm_rsh_agent", str(self.agent), "--mca", "btl", "self,vader,tcp",
                "--mca", "btl_tcp_if_include", network, "--mca", "oob_tcp_if_include", network, "--host", hosts]

    @staticmethod
    def _ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
