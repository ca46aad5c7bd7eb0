"""Runs the queries of the dashboards at a Prometheus and draws each board as small plots. See `plot`."""

import argparse
import json
import math
import re
import sys
import textwrap
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import itertools

import matplotlib.pyplot as plt
import queries
from matplotlib import dates
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from queries import ROOT

# Points of a line; a picture is not wide enough for more.
POINTS = 240
# Inches: of a picture, of its head, of a unit of the boards' grid.
WIDTH, HEAD, UNIT = 15, 0.65, 0.36
COLOURS = ["#3366cc", "#e07b00", "#2a9d4e", "#b0308f", "#7a5195", "#0097a7", "#8d6e63", "#c2a300", "#5c6bc0", "#90a4ae"]
THRESHOLD = {"green": "#2a9d4e", "yellow": "#e0a800", "red": "#d62728"}
INK, FAINT = "#222222", "#777777"


def prefixed(value, steps, names):
    """A value with the largest name that leaves a number of at least one."""
    for step, name in zip(steps, names):
        if abs(value) >= step:
            return f"{value / step:.3g} {name}".strip()
    return f"{value:.3g}"


def shown(value, unit):
    """A value as Grafana shows it in that unit, about."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "s":
        if abs(value) >= 1 or value == 0:
            return prefixed(value, (86400, 3600, 60, 1), ("d", "h", "min", "s")) if value else "0"
        return f"{value * 1000:.3g} ms"
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit in ("bytes", "Bps"):
        text = prefixed(value, (1 << 30, 1 << 20, 1 << 10, 1), ("GiB", "MiB", "KiB", "B")) if value else "0"
        return text + ("/s" if unit == "Bps" else "")
    number = prefixed(value, (1e9, 1e6, 1e3), ("G", "M", "k")) if value else "0"
    return number + ("/s" if unit in ("reqps", "cps") else "")


def legend(template, labels):
    """The name of a line: the template's labels, or all of them, or nothing."""
    if template == "__auto":
        return " ".join(value for name, value in sorted(labels.items()) if name != "__name__")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match.group(1), ""), template).strip()


class Prometheus:
    """The server that is asked, and for which time."""

    def __init__(self, url, start, end, window, values):
        self.url, self.start, self.end, self.window = url.rstrip("/"), start, end, window
        self.values = {"$__rate_interval": f"{window}s", "$__interval": f"{window}s", "$__range": f"{round(end - start)}s"} | values
        self.step = max(1, round((end - start) / POINTS))
        # It is near, whatever proxy the environment names.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path, **parameters):
        """The result of a query."""
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with self.opener.open(self.url + path, data=body, timeout=60) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{self.url}{path}: {error.read().decode()[:300]}\n  {parameters['query']}") from error

    def lines(self, panel):
        """The lines of a panel: [(name, [(time, value)])]."""
        found = []
        # A bar counts what happened since the one before.
        bars = panel["fieldConfig"]["defaults"].get("custom", {}).get("drawStyle") == "bars"
        step = max(self.step, self.window) if bars else self.step
        for target in panel["targets"]:
            query = queries.with_values(target["expr"], self.values | ({"$__rate_interval": f"{step}s"} if bars else {}))
            for series in self.ask("/api/v1/query_range", query=query, start=self.start, end=self.end, step=step):
                points = [(float(time), float(value)) for time, value in series["values"]]
                if any(math.isfinite(value) for _, value in points):
                    found.append((legend(target["legendFormat"], series["metric"]), points))
        return found

    def rows(self, panel):
        """The rows of a table: the names of its columns and the texts."""
        columns, rows = [], {}
        for target in panel["targets"]:
            name = target["legendFormat"]
            columns.append(name)
            query = queries.with_values(target["expr"], self.values)
            for series in self.ask("/api/v1/query", query=query, time=self.end):
                labels = tuple(sorted(series["metric"].items()))
                rows.setdefault(labels, {})[name] = float(series["value"][1])
        names = sorted({label for labels in rows for label, _ in labels})
        return names + columns, [[dict(labels).get(name, "") for name in names]
                                 + [f"{values[c]:,.0f}" if c in values else "" for c in columns]
                                 for labels, values in sorted(rows.items())]


def round_steps(unit, top, whole, marks):
    """A distance of marks on the scale that is round in its unit, about so many of them up to the top."""
    if unit == "s" and top > 5:
        choice = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]
        choice += [86400 * n for n in (2, 5, 10, 20, 30, 60, 90)]
    elif unit in ("bytes", "Bps"):
        choice = [n << shift for shift in (0, 10, 20, 30) for n in (1, 2, 5, 10, 20, 50, 64, 100, 128, 256, 512)]
    elif whole and top <= 6:
        choice = [1, 2]
    else:
        return MaxNLocator(nbins=marks, integer=whole)
    return MultipleLocator(min(choice, key=lambda distance: abs(top / distance - marks)))


def draw_thresholds(axes, panel, top):
    """The thresholds that are not far above what there is to see: in the colour that begins there."""
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"]
    far = []
    for before, step in itertools.pairwise(steps):
        # Where falling is bad, the colour that matters is the one below the line.
        colour = before["color"] if steps[-1]["color"] == "green" else step["color"]
        if step["value"] <= top * 4 or top == 0 and defaults["unit"] == "percentunit":
            axes.axhline(step["value"], color=THRESHOLD[colour], linewidth=1, linestyle=(0, (4, 3)), zorder=3)
            top = max(top, step["value"])
        else:
            far.append((step["value"], colour))
    if far:
        text = "threshold " + ", ".join(shown(value, defaults["unit"]) for value, _ in far)
        axes.text(0.995, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=6.5,
                  color=THRESHOLD[far[-1][1]])
    return top


def draw_lines(axes, panel, lines):
    """Lines, an area where the board stacks, or bars."""
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    lines = sorted(lines, key=lambda line: -max(value for _, value in line[1] if math.isfinite(value)))
    highest = 0.0
    if stacked:
        times = sorted({time for _, points in lines for time, _ in points})
        by_name = [(name, dict(points)) for name, points in lines]
        layers = [[value if math.isfinite(value := points.get(time, 0.0)) else 0.0 for time in times]
                  for _, points in by_name]
        steps = {"step": "mid"} if custom.get("drawStyle") == "bars" else {}
        base = [0.0] * len(times)
        for index, layer in enumerate(layers):
            upper = [low + value for low, value in zip(base, layer)]
            colour = COLOURS[index % len(COLOURS)]
            axes.fill_between([datetime.fromtimestamp(t, UTC) for t in times], base, upper, color=colour,
                              alpha=0.75, linewidth=0, label=lines[index][0], **steps)
            base = upper
        highest = max(base, default=0.0)
    else:
        for index, (name, points) in enumerate(lines):
            times = [datetime.fromtimestamp(t, UTC) for t, _ in points]
            values = [v if math.isfinite(v) else math.nan for _, v in points]
            few = sum(not math.isnan(v) for v in values) < POINTS / 4
            axes.plot(times, values, color=COLOURS[index % len(COLOURS)], linewidth=1.3, marker="." if few else "", markersize=4, label=name)
            highest = max([highest, *(v for v in values if not math.isnan(v))])
    return highest


def draw_legend(axes, room):
    """The names of the lines in two rows of so many letters; of those that find no place, the number."""
    handles, names = axes.get_legend_handles_labels()
    if not any(names):
        return
    columns = max(1, room // (max(map(len, names)) + 7))
    if len(names) > 2 * columns:
        more = len(names) - 2 * columns
        handles, names = handles[:-more], names[:-more]
        names[-1] += f" (+{more})"
    axes.legend(handles, names, loc="upper center", bbox_to_anchor=(0.48, -0.11), fontsize=7, frameon=False,
                ncols=min(columns, len(names)), handlelength=1.2, columnspacing=1.0, labelcolor=INK)


def draw(axes, panel, prometheus):
    """One panel; returns whether there was something to draw."""
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    axes.set_title("\n".join(textwrap.wrap(panel["title"], panel["gridPos"]["w"] * 7)), fontsize=9, loc="left", color=INK, fontweight="bold")
    if panel["type"] == "table":
        return draw_table(axes, *prometheus.rows(panel))
    lines = prometheus.lines(panel)
    axes.set_xlim(datetime.fromtimestamp(prometheus.start, UTC), datetime.fromtimestamp(prometheus.end, UTC))
    axes.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=6 if panel["gridPos"]["w"] > 4 else 3))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M", tz=UTC))
    most = 1 + 1e-9 if unit == "percentunit" else math.inf
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit) if value <= most else ""))
    axes.tick_params(labelsize=7, colors=FAINT)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if not lines:
        axes.text(0.5, 0.5, "nothing in this time", transform=axes.transAxes, ha="center", va="center", fontsize=8, color=FAINT)
        axes.set_yticks([])
        return False
    highest = draw_thresholds(axes, panel, draw_lines(axes, panel, lines))
    if panel["type"] == "stat":
        last = next((v for _, v in reversed(lines[0][1]) if math.isfinite(v)), math.nan)
        axes.text(0.03, 0.9, shown(last, unit), transform=axes.transAxes, ha="left", va="top", fontsize=16, color=INK)
    whole = unit == "short" and all(v == int(v) for _, points in lines for _, v in points if math.isfinite(v))
    lowest = min(v for _, points in lines for _, v in points if math.isfinite(v))
    falling = defaults["thresholds"]["steps"][-1]["color"] == "green" and len(defaults["thresholds"]["steps"]) > 1
    if unit == "percentunit" and falling:
        limits = [step["value"] for step in defaults["thresholds"]["steps"][1:]]
        low = min([lowest, *limits])
        axes.set_ylim(low - (1 - low) * 0.2 - 1e-4, 1 + (1 - low) * 1.1 + 1e-4)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    else:
        axes.set_ylim(0, highest * (1.8 if panel["type"] == "stat" else 1.12) or 1)
        axes.yaxis.set_major_locator(round_steps(unit, axes.get_ylim()[1], whole, 2 if panel["type"] == "stat" else 5))
    if panel["type"] != "stat":
        draw_legend(axes, panel["gridPos"]["w"] * 11)
    return True


def draw_table(axes, columns, rows):
    """A table, its first lines."""
    axes.axis("off")
    if not rows:
        axes.text(0.5, 0.5, "nothing in this time", transform=axes.transAxes, ha="center", va="center", fontsize=8, color=FAINT)
        return False
    table = axes.table(cellText=rows[:8], colLabels=columns, loc="upper center", cellLoc="left", colLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    table.scale(1, 1.15)
    for cell in table.get_celld().values():
        cell.set_edgecolor("#dddddd")
        cell.get_text().set_color(INK)
    return True


def draw_board(board, prometheus, out):
    """A picture of a board, laid out as the board is; prints how many of its panels had something to show."""
    panels = board["panels"]
    tall = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * UNIT + HEAD
    figure = plt.figure(figsize=(WIDTH, tall), dpi=100, facecolor="white")
    span = " to ".join(datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S") for t in (prometheus.start, prometheus.end))
    figure.text(0.012, 1 - 0.32 / tall, board["title"], fontsize=17, fontweight="bold", color=INK, va="center")
    figure.text(0.988, 1 - 0.32 / tall, f"{span} UTC, a point every {prometheus.step} s", fontsize=9.5, color=FAINT,
                ha="right", va="center")
    filled = total = 0
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] / 24 * WIDTH, tall - HEAD - place["y"] * UNIT
        if panel["type"] == "row":
            figure.text(0.012, (top - 0.22) / tall, panel["title"], fontsize=12, color="#3366cc", fontweight="bold", va="center")
            figure.add_artist(plt.Line2D([0.012, 0.988], [(top - 0.37) / tall] * 2, color="#cccccc", linewidth=0.8))
            continue
        # Room for the scale, the title and the legend around the plot.
        around = {"left": 0.62, "right": 0.2, "top": 0.42, "bottom": 0.62 if panel["type"] == "timeseries" else 0.3}
        wide, high = place["w"] / 24 * WIDTH, place["h"] * UNIT
        axes = figure.add_axes([(left + around["left"]) / WIDTH, (top - high + around["bottom"]) / tall,
                                (wide - around["left"] - around["right"]) / WIDTH,
                                (high - around["top"] - around["bottom"]) / tall])
        total += 1
        filled += draw(axes, panel, prometheus)
    figure.savefig(out)
    plt.close(figure)
    print(f"{out}: {filled} of {total} panels have something to show")


def moment(text):
    """Seconds since 1970 of a time, given so or as ISO 8601."""
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()


def main():
    parser = argparse.ArgumentParser(prog="plot", description=__doc__)
    parser.add_argument("--url", required=True, help="Prometheus, such as http://127.0.0.1:9090")
    parser.add_argument("--start", required=True, type=moment, help="ISO 8601 or seconds since 1970")
    parser.add_argument("--end", required=True, type=moment)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images", help="folder of the pictures")
    parser.add_argument("--board", action="append", help="service, exports, practices, security, capacity; all if not given")
    parser.add_argument("--window", type=int, default=60, help="$__rate_interval in seconds: four scrape intervals at least (60)")
    parser.add_argument("--job", default="headgate-.+", help="$job, a regular expression")
    options = parser.parse_args()
    if options.end <= options.start:
        parser.error("--end has to be after --start")
    prometheus = Prometheus(options.url, options.start, options.end, options.window, {"$job": options.job})
    options.out.mkdir(parents=True, exist_ok=True)
    for file, board in queries.boards():
        name = file.removeprefix("headgate-").removesuffix(".json")
        if not options.board or name in options.board:
            draw_board(board, prometheus, options.out / f"dashboard-{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
