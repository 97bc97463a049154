"""The table of CUDA kernels in docs/gpu.md: what the compiler made of each, since no GPU of ours can be asked.

cuda_kernel_table.py BUILD            writes the table
cuda_kernel_table.py BUILD --check    fails when it is stale, or when a kernel spills registers, uses local memory or names no cost

Compiles the device code of every .cu file of BUILD/compile_commands.json once more with its own flags. What a kernel moves and computes
is in its comment (compute/cuda/prelude.h). Where cuobjdump is found, the machine code of sm_90 is read, too: each kernel that multiplies
with tensor cores or moves 16 bytes at a time in PTX must do so there.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- kernels begin -->", "<!-- kernels end -->"

# Limits of one multiprocessor of sm_90: docs.nvidia.com/cuda, "CUDA C++ Programming Guide", compute capabilities.
REGISTERS, WARPS, BLOCKS, SHARED_BYTES, SHARED_RESERVED = 65536, 64, 32, 233472, 1024

COST = re.compile(r"^/// Cost of (?P<unit>.+): (?P<bytes>.+) bytes, (?P<flops>.+) FLOPs?\."
                  r"(?: Up to (?P<dynamic>\d+) bytes of dynamic shared memory\.)?$", re.M)
COST_OF = re.compile(r"\bstruct (\w+)|__launch_bounds__\([^)]*\)\s+(\w+)\(")  # what a comment may belong to

PTX_COUNTS = {
    "mma": r"\bmma\.sync\.",
    "loads16": r"\bld\.global(?:\.\w+)*\.(?:v4\.\w?32|v2\.\w?64)\b",
    "stores16": r"\bst\.global(?:\.\w+)*\.(?:v4\.\w?32|v2\.\w?64)\b",
    "copies16": r"\bcp\.async\.c[ag]\.shared\.global(?:\.\w+)*\s+\[[^;]*\], 16",
}
SASS_COUNTS = {
    "mma": r"\b(?:HMMA|HGMMA|UTCHMMA)\.",
    "loads16": r"\bLDG\.E(?:\.\w+)*\.128\b",
    "stores16": r"\bSTG\.E(?:\.\w+)*\.128\b",
    "copies16": r"\bLDGSTS\.E(?:\.\w+)*\.128\b",
}


def compiler_commands(build):
    """{source: command} of the CUDA sources of the product."""
    commands = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        compilers = [i for i, word in enumerate(words) if pathlib.Path(word).name == "nvcc"]
        if entry["file"].endswith(".cu") and compilers:
            commands[entry["file"]] = words[compilers[0]:]
    return commands


def device_command(words, folder):
    """The command with which only the device code is compiled, into `folder`, and ptxas says what it used."""
    words = ["-fatbin" if word == "-c" else word for word in words if word != "-MD"]
    for flag in ("-o", "-MF", "-MT"):
        if flag in words:
            del words[words.index(flag):words.index(flag) + 2]
    return words + ["-o", str(folder / "kernels.fatbin"), "-Xptxas", "-v", "--keep", "--keep-dir", str(folder)]


def compiled(words, source, folder):
    """Compiles into `folder`; gives what ptxas says, the PTX of the oldest architecture and the file with the machine code."""
    done = subprocess.run(device_command(words, folder), capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        sys.exit(f"{source}: nvcc failed\n{done.stderr[-3000:]}")
    listings = [path.read_text() for path in folder.glob("*.ptx")]
    ptx = min(listings, key=lambda listing: int(re.search(r"^\.target sm_(\d+)", listing, re.M).group(1)))
    return done.stdout + done.stderr, ptx, folder / "kernels.fatbin"


def costs_in(text):
    """{kernel or functor: what its comment says that it costs}."""
    owners = ((cost, COST_OF.search(text, cost.end())) for cost in COST.finditer(text))
    return {owner.group(1) or owner.group(2): cost.groupdict() for cost, owner in owners if owner}


def costs_of(source):
    """Of the kernels and functors of a file and of the headers beside it."""
    source = pathlib.Path(source)
    return costs_in("\n".join(path.read_text() for path in [*sorted(source.parent.glob("*.h")), source]))


def row_and_cost(name, costs):
    """The row of the table that an instance belongs to: its kernel's, or that of the functor that it was made for and that costs."""
    kernel, _, arguments = name.partition("<")
    functor = next((word for word in re.findall(r"\w+", arguments) if word in costs), None)
    return (f"{kernel}<{functor}>", costs[functor]) if functor else (kernel, costs.get(kernel))


def resources(said):
    """{(kernel, architecture): registers, static shared bytes, spilled and stack bytes} from the words of ptxas -v."""
    found = {}
    for part in re.split(r"Compiling entry function ", said)[1:]:
        name, architecture = re.match(r"'(\S+)' for 'sm_(\d+)\w?'", part).groups()
        stack, stores, loads = map(int, re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups())
        shared = re.search(r"(\d+) bytes smem", part)
        found[name, architecture] = {"registers": int(re.search(r"Used (\d+) registers", part).group(1)),
                                     "shared": int(shared.group(1)) if shared else 0, "spills": stores + loads, "stack": stack}
    return found


def counts(text, begin, patterns):
    """{kernel: {what: occurrences}} of a listing whose kernels start where `begin` matches their name."""
    starts = list(re.finditer(begin, text, re.M))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {start.group(1): {what: len(re.findall(pattern, text[start.start():end])) for what, pattern in patterns.items()}
            for start, end in zip(starts, ends)}


def readable(names):
    """{mangled: C++ name without namespaces and arguments}."""
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    short = {}
    for mangled, name in zip(names, done.stdout.splitlines()):
        name = re.sub(r"_GLOBAL__N__\w+::|ballast::(cuda::)?|\(anonymous namespace\)::|^void ", "", name)
        name = name.replace("__nv_bfloat16", "bf16")
        short[mangled] = re.sub(r"^void ", "", without_arguments(name))
    return short


def without_arguments(name):
    """Cuts a demangled function where its argument list begins: at the first round bracket outside template brackets."""
    depth = 0
    for position, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:position]
    return name


def resident_warps(threads, registers, shared):
    """How many warps one multiprocessor of sm_90 holds at a time."""
    warps = -(-threads // 32)
    per_warp = -(-registers * 32 // 256) * 256
    blocks = min(WARPS // warps, REGISTERS // (per_warp * warps), BLOCKS, SHARED_BYTES // (shared + SHARED_RESERVED))
    return blocks * warps


def kernels_of(source, words):
    """One record for each instance of a kernel of a file."""
    with tempfile.TemporaryDirectory() as folder:
        said, ptx, binary = compiled(words, source, pathlib.Path(folder))
        sass = machine_code(binary, compiler=words[0])
    used, costs = resources(said), costs_of(source)
    in_ptx = counts(ptx, r"^(?:\.visible )?\.entry (\w+)\(", PTX_COUNTS)
    threads = dict(re.findall(r"\.entry (\w+)\([^{]*?\.maxntid (\d+)", ptx))
    in_sass = counts(sass, r"^\s+Function : (\w+)", SASS_COUNTS) if sass else None
    kernels = []
    for kernel, name in readable(sorted(in_ptx)).items():
        row, cost = row_and_cost(name, costs)
        kernels.append({"file": pathlib.Path(source).name, "name": name, "row": row, "cost": cost,
                        "threads": int(threads.get(kernel, 0)), **in_ptx[kernel], "sass": in_sass and in_sass.get(kernel),
                        "by_architecture": {arch: record for (of, arch), record in used.items() if of == kernel}})
    return kernels


def machine_code(binary, compiler):
    """The listing of the machine code of sm_90, or None where cuobjdump is neither beside the compiler nor in PATH."""
    tool = shutil.which("cuobjdump", path=f"{pathlib.Path(compiler).parent}{os.pathsep}{os.environ['PATH']}")
    if not tool:
        return None
    return subprocess.run([tool, "-sass", "-arch", "sm_90", str(binary)], capture_output=True, text=True, check=True).stdout


def mistakes(kernels):
    """What no kernel may do."""
    for kernel in kernels:
        where = f"{kernel['file']}: {kernel['name']}"
        if not kernel["threads"]:
            yield f"{where}: no __launch_bounds__"
        if not kernel["cost"]:
            yield f"{where}: no line '/// Cost of ...' in the comment of the kernel or of its functor (compute/cuda/prelude.h)"
        for architecture, record in kernel["by_architecture"].items():
            if record["spills"] or record["stack"]:
                yield f"{where}: sm_{architecture}: {record['spills']} bytes spilled, {record['stack']} bytes of local memory"
        for what, number in (kernel["sass"] or {}).items():
            if kernel[what] and not number:
                yield f"{where}: {what} in PTX ({kernel[what]}), but not in the machine code of sm_90"


def cells(instances, architectures):
    """The cells of one row: the most of each number over the instances of a kernel, and the fewest warps."""
    newest = "90" if "90" in architectures else architectures[-1]
    cost = instances[0]["cost"] or {}
    dynamic = int(cost.get("dynamic") or 0)
    most = {what: max(kernel[what] for kernel in instances) for what in ("threads", *PTX_COUNTS)}
    registers = [max(kernel["by_architecture"][arch]["registers"] for kernel in instances) for arch in architectures]
    shared = [kernel["by_architecture"][newest]["shared"] + dynamic for kernel in instances]
    warps = min(resident_warps(kernel["threads"], kernel["by_architecture"][newest]["registers"], bytes_)
                for kernel, bytes_ in zip(instances, shared)) if most["threads"] else 0
    return [cost.get("unit", ""), cost.get("bytes", ""), cost.get("flops", ""), most["threads"], ", ".join(map(str, registers)),
            max(shared), warps, *(most[what] for what in PTX_COUNTS)]


def table(kernels, release):
    architectures = sorted({arch for kernel in kernels for arch in kernel["by_architecture"]}, key=int)
    rows = {}
    for kernel in kernels:
        rows.setdefault((kernel["file"], kernel["row"]), []).append(kernel)
    lines = [f"Compiled by nvcc {release}.", "",
             f"| kernel | cost of | bytes | FLOPs | threads | registers on sm_{', '.join(architectures)} | shared bytes | warps resident | "
             "tensor-core products | 16-byte loads | 16-byte stores | 16-byte asynchronous copies |",
             "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for (file, row), instances in sorted(rows.items()):
        lines.append(" | ".join([f"| {file}: `{row}`", *map(str, cells(instances, architectures))]) + " |")
    return "\n".join(lines)


def section():
    whole = PAGE.read_text()
    if whole.count(BEGIN) != 1 or whole.count(END) != 1:
        sys.exit(f"{PAGE}: '{BEGIN}' and '{END}' are needed, once each")
    before, rest = whole.split(BEGIN)
    inside, after = rest.split(END)
    return before, inside.strip(), after


def main():
    build, check = pathlib.Path(sys.argv[1]), sys.argv[2:] == ["--check"]
    commands = compiler_commands(build)
    if not commands:
        sys.exit(f"{build}/compile_commands.json has no CUDA sources")
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        kernels = [kernel for found in pool.map(kernels_of, commands, commands.values()) for kernel in found]
    compiler = next(iter(commands.values()))[0]
    release = re.search(r"release (\S+),", subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout).group(1)
    made, (before, now, after) = table(kernels, release), section()
    wrong = list(mistakes(kernels))
    if not check:
        PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")
    elif now.startswith(made.split("\n")[0]) or "Compiled by" not in now:
        if now != made:
            wrong.append(f"{PAGE}: the table is stale: run {pathlib.Path(__file__).name} {build}")
    else:
        print(f"the table is of another compiler than nvcc {release}: not compared")
    print(f"{len(kernels)} instances of kernels in {len(commands)} files; machine code "
          f"{'read' if kernels[0]['sass'] is not None else 'not read: no cuobjdump'}")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
