"""The table of bars as Markdown, from the records of compare_with_pytorch.py."""
import collections
import statistics

from compared_jobs import WORKS

# Row: (least ratio to the peer's best way, least share of the roof or None)
SPEED_BARS = {
    "gpt2-bf16": (2.0, 0.65), "gpt2-f32": (1.6, 0.85), "gpt2-1024-bf16": (2.2, None), "gpt-small-bf16": (2.0, None),
    "gpt-small-f32": (1.6, None), "mlp-f32": (1.25, None), "resnet20-f32": (1.8, None),
}
MOST_OF_ROOF, MOST_MEMORY, MOST_START, MOST_STATISTICS = 1.25, 0.45, 0.5, 0.01


def spread(values, form):
    middle = form.format(statistics.median(values))
    return middle if len(values) < 2 else f"{middle} ({form.format(min(values))}..{form.format(max(values))})"


def yes(met):
    return "yes" if met else "**no**"


class Runs:
    """The records of one row: {round: result} of Ballast and of each way of the peer."""

    def __init__(self, records, row):
        self.sides = {"Ballast": collections.defaultdict(dict), "PyTorch": collections.defaultdict(dict)}
        for record in records:
            if record["row"] == row:
                self.sides[record["side"]][record["way"]][record["round"]] = record["result"]

    @property
    def ballast(self):
        return self.sides["Ballast"].get("", {})

    def of_peer(self, number):
        """{way: {round: number}}"""
        return {way: {turn: number(result) for turn, result in rounds.items()} for way, rounds in self.sides["PyTorch"].items()}


def median(rounds):
    return statistics.median(rounds.values())


def ratios(ours, theirs):
    return [ours[turn] / theirs[turn] for turn in ours if turn in theirs]


def speed_row(row, runs):
    ours = {turn: result["items_per_second"] for turn, result in runs.ballast.items()}
    shares = [result["roof_share"] for result in runs.ballast.values()]
    peer = runs.of_peer(lambda result: result["items_per_second"])
    least, least_share = SPEED_BARS[row]
    bar = f">= {least}x" + (f", >= {least_share:.0%} of the roof" if least_share else "")
    if not ours or not peer:
        return [WORKS[row].title, spread(list(ours.values()), "{:,.0f}") if ours else "", "", "", "", bar, "not measured"]
    rounds = max(len(speeds) for speeds in peer.values())  # a way that ran once was not among the fastest then
    way = max((name for name in peer if len(peer[name]) == rounds), key=lambda name: median(peer[name]))
    factors = ratios(ours, peer[way])
    met = statistics.median(factors) >= least and (not least_share or statistics.median(shares) >= least_share)
    return [WORKS[row].title, f"{median(ours):,.0f}", f"{median(peer[way]):,.0f} ({way})", spread(factors, "{:.2f}"),
            spread([100 * share for share in shares], "{:.0f}") + " %", bar, yes(met)]


def reduction_row(runs):
    results = list(runs.ballast.values())
    milliseconds = [1e3 * result["ballast"]["seconds"] for result in results]
    mpi = [1e3 * result["mpi"]["seconds"] for result in results]
    over = [result["roof"]["ratio"] for result in results]
    return ["reduce + clip + AdamW, 124 M f32 parameters, ms", f"{statistics.median(milliseconds):,.0f}",
            f"{statistics.median(mpi):,.0f} (MPI_Allreduce, then AdamW on each worker)",
            spread([theirs / ours for ours, theirs in zip(milliseconds, mpi)], "{:.2f}"),
            f"{spread(over, '{:.2f}')} x the roof", f"<= {MOST_OF_ROOF}x the roof", yes(statistics.median(over) <= MOST_OF_ROOF)]


def memory_row(runs):
    result, peer = runs.ballast[0], runs.of_peer(lambda found: found["peak_bytes"])
    way = min(peer, key=lambda name: median(peer[name]))
    pss = runs.of_peer(lambda found: found["pss_bytes"])[way][0]
    ratio = result["node_bytes"] / peer[way][0]
    return ["memory of the node, GPT-2 124M bf16, 2 workers, GB", f"{result['node_bytes'] / 1e9:.2f}",
            f"{peer[way][0] / 1e9:.2f} ({way}; {pss / 1e9:.2f} at the end, shared pages counted once)", f"{ratio:.2f}", "",
            f"<= {MOST_MEMORY}x", yes(ratio <= MOST_MEMORY)]


def first_step_row(runs):
    ours, peer = runs.ballast, runs.of_peer(float)
    way = min(peer, key=lambda name: median(peer[name]))
    return ["start to first step, mlp, 2 workers, s", spread(list(ours.values()), "{:.2f}"), f"{median(peer[way]):.1f} ({way})",
            spread(ratios(peer[way], ours), "{:.1f}"), "", f"<= {MOST_START} s", yes(median(ours) <= MOST_START)]


def statistics_row(runs):
    every = [100 * (cost["statistics"] + cost["line"]) / cost["step"] for cost in runs.ballast.values()]
    tenth = [percent / 10 for percent in every]
    cost = f"every tenth step (as by default) {spread(tenth, '{:+.2f}')}; every step {spread(every, '{:+.2f}')}"
    met = [yes(statistics.median(percent) <= 100 * MOST_STATISTICS) for percent in (tenth, every)]
    return ["statistics, metrics, progress on, GPT-2 124M bf16, % of a step", cost, "", "", "", f"<= {MOST_STATISTICS:.0%}",
            f"every tenth step: {met[0]}; every step: {met[1]}"]


OTHERS = {"reduction": reduction_row, "memory": memory_row, "first-step": first_step_row, "statistics": statistics_row}


def lines_of(header, rows):
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def bar_rows(records):
    rows = {record["row"] for record in records}
    for row in SPEED_BARS:
        if row in rows:
            yield speed_row(row, Runs(records, row))
    for row, make in OTHERS.items():
        if row in rows:
            try:
                yield make(Runs(records, row))
            except (KeyError, ValueError, TypeError, statistics.StatisticsError) as error:
                yield [row, "", "", "", "", "", f"not measured ({type(error).__name__})"]


def way_rows(records):
    for row in SPEED_BARS:
        peer = Runs(records, row).of_peer(lambda result: (result["items_per_second"], result["peak_bytes"]))
        for way, rounds in peer.items():
            speeds, peaks = zip(*rounds.values())
            yield [WORKS[row].title, way, spread(speeds, "{:,.0f}"), f"{statistics.median(peaks) / 1e9:.2f}"]


def section(about, options, records):
    """Everything between the markers of docs/performance.md."""
    described = "; ".join(f"{what}: {text}" for what, text in about.items())
    lines = [f"Measured with --rounds {options.rounds} --seconds {options.seconds:g} on {described}.", ""]
    lines += lines_of(("work", "Ballast", "PyTorch, best way", "ratio", "share of the roof", "bar", "met"), bar_rows(records))
    ways = list(way_rows(records))
    if ways:
        lines += ["", "Every way of PyTorch, items a second, and the sum of its processes' peak memory:", ""]
        lines += lines_of(("work", "way", "items/s", "peak GB"), ways)
    return "\n".join(lines)
