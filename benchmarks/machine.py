"""Names the machine and the libraries, so that figures can be compared."""
import os
import platform
import re
import subprocess

import ballast_side


def first_line(command):
    try:
        return subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def processor():
    try:
        text = subprocess.run(["lscpu"], text=True, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    except (OSError, subprocess.CalledProcessError):
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^([^:]+):\s*(.*)$", text, re.MULTILINE))
    name = found.get("Model name", platform.machine())
    if "CPU family" in found:
        name += f" (family {found['CPU family']}, model {found.get('Model', '?')})"
    matrix = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in found.get("Flags", "").split()]
    return name + (", " + ", ".join(matrix) if matrix else "")


def libraries():
    """Hardware and libraries as Ballast names them."""
    try:
        return ballast_side.ballast_json(["bench", "memory", "--seconds", 0.1, "--threads", 1])["backend"]
    except (ballast_side.RunFailed, KeyError):
        return "unknown"


def describe():
    """{what: text}"""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor(),
        "cores": str(len(ballast_side.cores())),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "Ballast": first_line([str(ballast_side.PROGRAM), "--version"]) + "; " + libraries(),
        "MPI": first_line(["mpirun", "--version"]),
    }
