"""Draws the points of growth.py as an SVG: one column for each thing that grows, time above and memory below, axes logarithmic."""
import math

PANEL_WIDTH, PANEL_HEIGHT = 172, 150
LEFT, TOP, GAP_X, GAP_Y = 64, 66, 46, 56
COLOURS = {"step": "#1f5fa8", "worker": "#b3541e", "node": "#2e7d4f", "roof": "#888888"}
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
font-family="Helvetica, Arial, sans-serif" font-size="11" fill="#222222">
<title>Time and memory of a step against width, layers, context, batch and workers</title>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


class Axis:
    """Maps numbers to pixels along a logarithm."""

    def __init__(self, numbers, begin, end, margin):
        low, high = math.log(min(numbers)), math.log(max(numbers))
        room = max(margin * (high - low), 0.12)
        self.low, self.high, self.begin, self.end = low - room, high + room, begin, end

    def at(self, number):
        share = (math.log(number) - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self):
        """1, 2, 5 of each decade; only 1 of each where that is plenty."""
        decades = range(math.floor(self.low / math.log(10)) - 1, math.ceil(self.high / math.log(10)) + 1)
        inside = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)
                  if self.low <= math.log(digit * 10.0**decade) <= self.high]
        ones = [tick for tick in inside if f"{tick:e}".startswith("1.0")]
        return ones if len(inside) > 6 and len(ones) > 1 else inside


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{words}</text>'


def line(x1, y1, x2, y2, colour, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def frame(x, y, x_values, x_axis, y_axis, title):
    """Box, grid, numbers at both axes."""
    yield f'<rect x="{x}" y="{y}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="#fbfbfb" stroke="#999999"/>'
    for tick in y_axis.ticks():
        yield line(x, y_axis.at(tick), x + PANEL_WIDTH, y_axis.at(tick), "#e2e2e2")
        yield text(x - 5, y_axis.at(tick) + 4, f"{tick:,g}", "end")
    for value in x_values:
        yield line(x_axis.at(value), y + PANEL_HEIGHT, x_axis.at(value), y + PANEL_HEIGHT + 4, "#999999")
        yield text(x_axis.at(value), y + PANEL_HEIGHT + 16, f"{value:g}")
    yield text(x + PANEL_WIDTH / 2, y + PANEL_HEIGHT + 32, title, more=' font-weight="bold"')


def curve(x_values, measured, expected, x_axis, y_axis, colour):
    """A dot for what was measured, a dashed line for what is expected; the roof is a thin line."""
    places = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in zip(x_values, expected))
    style = ' stroke-width="1.5" stroke-dasharray="5 3"' if measured else ' stroke-width="1"'
    yield f'<polyline points="{places}" fill="none" stroke="{colour}"{style}/>'
    for x, y in zip(x_values, measured):
        yield f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3.6" fill="{colour}"/>'


def panel(x, y, title, x_values, curves, y_range):
    """A curve is (measured, expected, colour); without measured points it is a thin line."""
    x_axis = Axis(x_values, x, x + PANEL_WIDTH, 0.1)
    y_axis = Axis(y_range, y + PANEL_HEIGHT, y, 0.08)
    yield from frame(x, y, x_values, x_axis, y_axis, title)
    for measured, expected, colour in curves:
        yield from curve(x_values, measured, expected, x_axis, y_axis, colour)


def legend(width):
    yield text(LEFT, 24, "One training step of a small GPT: one thing grows, the rest stays", "start", ' font-size="14" font-weight="bold"')
    x = LEFT
    for name, words in (("step", "step, ms"), ("worker", "memory of the largest worker, MiB"), ("node", "memory of the node, MiB")):
        yield f'<circle cx="{x + 4}" cy="42" r="3.6" fill="{COLOURS[name]}"/>'
        yield text(x + 13, 46, words, "start")
        x += 34 + 6 * len(words)
    yield line(x, 42, x + 26, 42, "#555555", ' stroke-width="1.5" stroke-dasharray="5 3"')
    yield text(x + 32, 46, "expected", "start")
    yield line(x + 100, 42, x + 126, 42, COLOURS["roof"])
    yield text(x + 132, 46, "roof of the step", "start")


def curves_of(along):
    mib = 2.0**20
    return ([([p.step_ms for p in along], [p.expected_ms for p in along], COLOURS["step"]),
             ([], [p.roof_ms for p in along], COLOURS["roof"])],
            [([p.peak / mib for p in along], [p.expected_peak / mib for p in along], COLOURS["worker"]),
             ([p.node / mib for p in along], [p.expected_node / mib for p in along], COLOURS["node"])])


def svg(points):
    names = list(dict.fromkeys(point.axis for point in points))
    width = LEFT + len(names) * (PANEL_WIDTH + GAP_X) - GAP_X + 20
    width, height = max(width, 760), TOP + 2 * (PANEL_HEIGHT + GAP_Y)
    lines = [HEAD.format(width=width, height=height), *legend(width)]
    for row, unit in enumerate(("step, ms", "memory, MiB")):
        columns = {name: curves_of([p for p in points if p.axis == name])[row] for name in names}
        # One scale in a row, so that columns can be compared.
        numbers = [number for curves in columns.values() for curve_ in curves for part in curve_[:2] for number in part]
        y = TOP + row * (PANEL_HEIGHT + GAP_Y)
        middle = y + PANEL_HEIGHT / 2
        lines.append(text(16, middle, unit, more=f' transform="rotate(-90 16 {middle:.1f})"'))
        for column, name in enumerate(names):
            x_values = [p.value for p in points if p.axis == name]
            lines += panel(LEFT + column * (PANEL_WIDTH + GAP_X), y, name, x_values, columns[name], numbers)
    return "\n".join([*lines, "</svg>", ""])
