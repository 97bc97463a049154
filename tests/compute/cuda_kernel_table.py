"""The table of CUDA kernels in docs/gpu.md: what the compiler made of each, since no GPU of ours can be asked.

cuda_kernel_table.py BUILD            writes the table
cuda_kernel_table.py BUILD --check    fails when it is stale, or when a kernel spills registers, uses local memory or names no cost

Compiles the device code of every .cu file of BUILD/compile_commands.json once more with its own flags, and reads the machine code: on
every architecture a kernel that multiplies with tensor cores or moves 16 bytes at a time in PTX must do so there, and none may load from
or store to local memory. Without cuobjdump (cmake/install_cuobjdump.sh) this part is left out, and nothing can be written.
What a kernel moves and computes is in its comment (compute/cuda/prelude.h).
"""
import concurrent.futures
import functools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import machine_code

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
    "shared_loads16": r"\bld\.shared(?:\.\w+)*\.(?:v4\.\w?32|v2\.\w?64)\b|\bldmatrix\.\S*\.x4\b",
    "shared_stores16": r"\bst\.shared(?:\.\w+)*\.(?:v4\.\w?32|v2\.\w?64)\b",
}
# Of the same accesses, counted in machine code: the last columns of the table.
HEADINGS = ["tensor-core products", "16-byte loads", "16-byte stores", "16-byte asynchronous copies", "16-byte loads of shared memory",
            "16-byte stores to shared memory"]


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


def kernels_of(tool, source, words):
    """One record for each instance of a kernel of a file; without machine code where `tool` is None."""
    with tempfile.TemporaryDirectory() as folder:
        said, ptx, binary = compiled(words, source, pathlib.Path(folder))
        used, costs = resources(said), costs_of(source)
        for architecture in {arch for _, arch in used} if tool else ():
            for kernel, found in machine_code.instructions(tool, binary, architecture).items():
                used[kernel, architecture]["instructions"] = found
    in_ptx = machine_code.counts(ptx, r"^(?:\.visible )?\.entry (\w+)\(", PTX_COUNTS)
    threads = dict(re.findall(r"\.entry (\w+)\([^{]*?\.maxntid (\d+)", ptx))
    kernels = []
    for kernel, name in readable(sorted(in_ptx)).items():
        row, cost = row_and_cost(name, costs)
        kernels.append({"file": pathlib.Path(source).name, "name": name, "row": row, "cost": cost,
                        "threads": int(threads.get(kernel, 0)), "ptx": in_ptx[kernel],
                        "by_architecture": {arch: record for (of, arch), record in used.items() if of == kernel}})
    return kernels


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
            yield from (f"{where}: sm_{architecture}: {mistake}" for mistake in mistaken_instructions(kernel["ptx"], record))


def mistaken_instructions(ptx, record):
    """What machine code, where it was read, must have and may not have."""
    found = record.get("instructions")
    if found:
        if found["local"]:
            yield f"{found['local']} instructions load from or store to local memory"
        for what in (what for what in ptx if ptx[what] and not found[what]):
            yield f"{what}: {ptx[what]} in PTX, none in the machine code"


def cells(instances, architectures):
    """The cells of one row: the most of each number over the instances of a kernel, and the fewest warps."""
    newest = "90" if "90" in architectures else architectures[-1]
    cost = instances[0]["cost"] or {}
    dynamic = int(cost.get("dynamic") or 0)
    threads = max(kernel["threads"] for kernel in instances)
    registers = [max(kernel["by_architecture"][arch]["registers"] for kernel in instances) for arch in architectures]
    shared = [kernel["by_architecture"][newest]["shared"] + dynamic for kernel in instances]
    warps = min(resident_warps(kernel["threads"], kernel["by_architecture"][newest]["registers"], bytes_)
                for kernel, bytes_ in zip(instances, shared)) if threads else 0
    found = [kernel["by_architecture"][newest].get("instructions", {}) for kernel in instances]
    return [cost.get("unit", ""), cost.get("bytes", ""), cost.get("flops", ""), threads, ", ".join(map(str, registers)),
            max(shared), warps, *(max(one.get(what, 0) for one in found) for what in PTX_COUNTS)]


def table(kernels, release):
    architectures = sorted({arch for kernel in kernels for arch in kernel["by_architecture"]}, key=int)
    rows = {}
    for kernel in kernels:
        rows.setdefault((kernel["file"], kernel["row"]), []).append(kernel)
    lines = [f"Compiled by nvcc {release}.", "",
             f"| kernel | cost of | bytes | FLOPs | threads | registers on sm_{', '.join(architectures)} | shared bytes | warps resident | "
             f"{' | '.join(HEADINGS)} |", "|---|---|---|---" + "|---:" * (4 + len(HEADINGS)) + "|"]
    for (file, row), instances in sorted(rows.items()):
        lines.append(" | ".join([f"| {file}: `{row}`", *map(str, cells(instances, architectures))]) + " |")
    return "\n".join(lines)


def without_instructions(made):
    """The table without what is counted in machine code: its last columns."""
    return [row.split("|")[:-1 - len(HEADINGS)] if row.startswith("|") else row for row in made.splitlines()]


def differs(now, made, complete):
    return now != made if complete else without_instructions(now) != without_instructions(made)


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
    compiler = next(iter(commands.values()))[0]
    tool = machine_code.disassembler(compiler, build)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = pool.map(functools.partial(kernels_of, tool), commands, commands.values())
        kernels = [kernel for of_file in found for kernel in of_file]
    wrong = list(mistakes(kernels))
    if tool and not machine_code.finds_local_memory(tool, compiler):
        wrong.append(f"{tool}: local memory that was planted is not found")
    release = re.search(r"release (\S+),", subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout).group(1)
    made, (before, now, after) = table(kernels, release), section()
    if not check:
        if not tool:
            sys.exit("the table counts instructions: cuobjdump is needed (cmake/install_cuobjdump.sh)")
        PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")
    elif not now.startswith(made.split("\n")[0]) and "Compiled by" in now:
        print(f"the table is of another compiler than nvcc {release}: not compared")
    elif differs(now, made, complete=bool(tool)):
        wrong.append(f"{PAGE}: the table is stale: run {pathlib.Path(__file__).name} {build}")
    print(f"{len(kernels)} instances of kernels in {len(commands)} files; machine code {f'read by {tool}' if tool else 'not read: no cuobjdump'}")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
