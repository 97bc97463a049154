"""Machine code of CUDA kernels (SASS): what cuobjdump lists, counted."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

# Instructions that tell whether a kernel does what its source means to do. An access of 128 bits is one of 16 bytes by each
# thread; sm_100 joins two of them.
INSTRUCTIONS = {
    "mma": r"\b(?:HMMA|HGMMA|UTCHMMA)\.",
    "loads16": r"\bLDG\.E(?:\.\w+)*\.(?:128|256)\b",
    "stores16": r"\bSTG\.E(?:\.\w+)*\.(?:128|256)\b",
    "copies16": r"\bLDGSTS\.E(?:\.\w+)*\.128\b",
    "shared_loads16": r"\bLDS(?:\.\w+)*\.128\b|\bLDSM(?:\.\w+)*\.4\b",
    "shared_stores16": r"\bSTS(?:\.\w+)*\.128\b",
    "local": r"\b(?:LDL|STL)\b",
}

# Its index is known at run time only, so that its array lies in local memory.
PLANTED = "__global__ void planted(int* x) { int many[64]; for (int i = 0; i < 64; ++i) many[x[i] & 63] = i; *x = many[*x & 63]; }"


def disassembler(compiler, build):
    """cuobjdump: beside the compiler, in PATH, or where cmake/install_cuobjdump.sh put it; None where there is none."""
    places = [str(pathlib.Path(compiler).parent), os.environ["PATH"], str(build.resolve() / "cuda_tools" / "bin")]
    return shutil.which("cuobjdump", path=os.pathsep.join(places))


def counts(text, begin, patterns):
    """{kernel: {what: occurrences}} of a listing whose kernels start where `begin` matches their name."""
    starts = list(re.finditer(begin, text, re.M))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {start.group(1): {what: len(re.findall(pattern, text[start.start():end])) for what, pattern in patterns.items()}
            for start, end in zip(starts, ends)}


def instructions(tool, binary, architecture):
    """{kernel: {what: occurrences}} in the code for one architecture ("90")."""
    path = f"{pathlib.Path(tool).parent}{os.pathsep}{os.environ['PATH']}"  # it runs nvdisasm, which lies beside it
    listing = subprocess.run([tool, "-sass", "-arch", f"sm_{architecture}", str(binary)], capture_output=True, text=True, check=True,
                             env={**os.environ, "PATH": path}).stdout
    return counts(listing, r"^\s+Function : (\w+)", INSTRUCTIONS)


def finds_local_memory(tool, compiler):
    """Whether the pattern of what must never be found finds it in a kernel where it is."""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = pathlib.Path(folder, "planted.cu"), pathlib.Path(folder, "planted.cubin")
        source.write_text(PLANTED)
        subprocess.run([compiler, "-cubin", "-arch=sm_90", "-o", str(binary), str(source)], check=True)
        return all(kernel["local"] for kernel in instructions(tool, binary, "90").values())
