"""The figures as a table for people, JSON for machines and a chart for the README."""

import json
from xml.sax.saxutils import escape

import peers

# The work, the round trip time, the figure, whose figure is 1.00, and the ratio that must not be exceeded.
TARGETS = [
    ("ls-remote", 0, "wall_s", peers.CA_DIRECTORY, 0.30),
    ("ls-remote", 0, "cpu_s", peers.CA_DIRECTORY, 0.20),
    ("ls-remote", 0, "memory_mb", peers.CA_DIRECTORY, 0.35),
    ("no-op fetch", 0, "wall_s", peers.CA_DIRECTORY, 0.50),
    ("ls-remote", 50, "wall_s", peers.CA_DIRECTORY, 0.65),
    ("no-op fetch", 50, "wall_s", peers.CA_DIRECTORY, 0.75),
    ("50 fetches at once", 50, "wall_s", peers.CA_DIRECTORY, 0.35),
    ("30 submodules, 8 jobs", 50, "wall_s", peers.CA_DIRECTORY, 0.80),
    ("push of 10 MB", 50, "wall_s", peers.CA_DIRECTORY, 0.85),
    ("cold token, tiny clone", 50, "wall_s", peers.SCRIPT, 0.60),
    ("large clone", 0, "wall_s", peers.REFERENCE, 0.95),
    ("large clone", 0, "helper_cpu_s", peers.REFERENCE, 0.80),
    ("large push", 0, "wall_s", peers.REFERENCE, 0.95),
    # Of all programs: git-remote-https starts those that make the pack, which git starts itself beside us.
    ("large push", 0, "cpu_s", peers.REFERENCE, 0.80),
]
HELPER_MEMORY_MB = 16
# The figures that each run has, so that ratios are those of runs of the same round.
OF_RUNS = ("wall_s", "cpu_s", "helper_cpu_s")

HEAD = (
    f"{'':26}{'n':>3} {'wall ms':>9} {'ratio':>6} {'quartiles':>11} {'CPU ms':>8} {'ratio':>6} {'MB':>6}"
    f" {'req':>4} {'tok':>4} {'conn':>4} {'prog':>5} {'kB':>8} {'trips':>5}"
)


def title(cell):
    return f"{cell.work} · {cell.server} · RTT {cell.rtt_ms} ms"


def group(cells):
    groups = {}
    for cell in cells:
        groups.setdefault((cell.work, cell.server, cell.rtt_ms), {})[cell.contender] = cell
    return groups


def reference_of(cells):
    """The hardest one there is among these contenders."""
    names = [peers.REFERENCE, peers.CA_DIRECTORY, peers.SCRIPT]
    return next((cells[name] for name in names if name in cells), next(iter(cells.values())))


def number(value, width, digits=0, scale=1):
    return f"{'–':>{width}}" if value is None else f"{value * scale:{width}.{digits}f}"


def rows(cells):
    """The lines of one work on one server over one link."""
    reference = reference_of(cells)
    for name, cell in cells.items():
        low, ratio, high = cell.ratios(reference, "wall_s")
        cpu = cell.median("cpu_s") / max(reference.median("cpu_s"), 1e-9)
        counts = cell.counts
        line = (
            f"  {name:24}{len(cell.runs):3} {number(cell.median('wall_s'), 9, 1, 1000)} {ratio:6.2f} {low:5.2f}–{high:4.2f}"
            f" {number(cell.median('cpu_s'), 8, 1, 1000)} {cpu:6.2f} {number(counts.memory_mb, 6, 1)}"
            f" {number(counts.requests, 4)} {number(counts.token_calls, 4)} {number(counts.connections, 4)}"
            f" {number(counts.programs, 5)} {number(counts.wire_bytes, 8, 1, 1 / 1000)} {number(cell.round_trips, 5, 1)}"
        )
        if (cpu := cell.median("helper_cpu_s")) is not None:
            line += f"  transport: {cpu:.2f} s of CPU, {cell.median('helper_memory_mb'):.1f} MB"
        if (cpu := cell.agent_cpu_s) is not None:
            line += f"  agent: {cpu * 1000:.1f} ms of CPU, {cell.agent_memory_mb:.1f} MB"
        yield line


def figure(cell, name):
    return cell.median(name) if name in OF_RUNS else getattr(cell.counts, name)


def targets(cells):
    """What is promised, and whether this run keeps it."""
    groups = group(cells)
    for work, rtt, name, reference, limit in TARGETS:
        found = groups.get((work, "bitbucket", rtt), {})
        if peers.OURS not in found or reference not in found:
            continue
        ours, theirs = (figure(found[who], name) for who in (peers.OURS, reference))
        if ours is None or not theirs:
            continue
        ratio = found[peers.OURS].ratios(found[reference], name)[1] if name in OF_RUNS else ours / theirs
        verdict = "reached" if ratio <= limit else "MISSED"
        yield f"  {verdict:8} {ratio:5.2f} ≤ {limit:.2f}  {work}, RTT {rtt} ms, {name.rpartition('_')[0]}, against {reference}"
    for work in ("large clone", "large push"):
        cell = groups.get((work, "bitbucket", 0), {}).get(peers.OURS)
        if cell and cell.median("helper_memory_mb") is not None:
            memory = max(run.helper_memory_mb for run in cell.runs)
            verdict = "reached" if memory <= HELPER_MEMORY_MB else "MISSED"
            yield f"  {verdict:8} {memory:5.1f} ≤ {HELPER_MEMORY_MB} MB  {work}, memory of the helper"
    for (work, server, rtt), found in groups.items():
        ours = found.get(peers.OURS)
        for name, cell in found.items():
            if ours and not name.startswith(peers.OURS):
                ratio = ours.ratios(cell, "wall_s")[1]
                if ratio >= 1:
                    yield f"  MISSED   {ratio:5.2f} < 1.00  {work}, {server}, RTT {rtt} ms, against {name}"


def as_json(conditions, cells):
    figures = []
    for key, found in group(cells).items():
        reference = reference_of(found)
        for cell in found.values():
            low, ratio, high = cell.ratios(reference, "wall_s")
            figures.append(
                {
                    "work": cell.work,
                    "server": cell.server,
                    "rtt_ms": cell.rtt_ms,
                    "contender": cell.contender,
                    "rounds": len(cell.runs),
                    "wall_s": cell.median("wall_s"),
                    "cpu_s": cell.median("cpu_s"),
                    "reference": reference.contender,
                    "wall_ratio": {"first_quartile": low, "median": ratio, "third_quartile": high},
                    "cpu_ratio": cell.ratios(reference, "cpu_s")[1],
                    "round_trips": cell.round_trips,
                    "agent_cpu_s": cell.agent_cpu_s,
                    "agent_memory_mb": cell.agent_memory_mb,
                    **vars(cell.counts),
                    "runs": [vars(run) for run in cell.runs],
                }
            )
    return json.dumps({**conditions, "figures": figures}, indent=1) + "\n"


CHART_WORKS = ["ls-remote", "no-op fetch", "tiny clone", "small push", "50 fetches at once", "30 submodules, 8 jobs"]
COLORS = {
    peers.CA_DIRECTORY: "#8c959f",
    peers.REFERENCE: "#57606a",
    peers.SCRIPT: "#d4a72c",
    "git-remote-codecommit": "#bc4c00",
    "git-credential-oauth, warm": "#8250df",
    peers.OURS: "#1a7f37",
    peers.WITH_AGENT: "#4ac26b",
}
CHART_RTT_MS = 50
OUTLINE = 'stroke="#ffffff" stroke-width="3" paint-order="stroke"'
BAR, GAP, LEFT, WIDTH, LONGEST = 12, 18, 190, 760, 3.0


def chart(cells):
    """Bars of wall time, plain git's usual form = 1; a bar that would leave the picture ends at its edge."""
    groups = group(cells)
    drawn, y = [], 60
    for index, (name, color) in enumerate(COLORS.items()):
        x, line = 10 + index % 4 * 190, 20 + index // 4 * 18
        drawn.append(f'<rect x="{x}" y="{line - 10}" width="11" height="11" fill="{color}"/>')
        drawn.append(text(x + 17, line, name, "start"))
    unit = (WIDTH - LEFT - 60) / LONGEST
    for work in CHART_WORKS:
        found = groups.get((work, "bitbucket", CHART_RTT_MS), {})
        if peers.CA_DIRECTORY not in found:
            continue
        shown = [name for name in COLORS if name in found]
        drawn.append(text(LEFT - 10, y + len(shown) * BAR / 2 + 4, work, "end"))
        for name in shown:
            ratio = found[name].ratios(found[peers.CA_DIRECTORY], "wall_s")[1]
            length = min(ratio, LONGEST) * unit
            drawn.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{COLORS[name]}"/>')
            drawn.append(text(LEFT + length + 4, y + 9, f"{ratio:.2f}", "start", 10))
            y += BAR
        y += GAP
    one = LEFT + unit
    # First, so that it crosses no bar and no number.
    drawn.insert(0, f'<line x1="{one:.1f}" y1="52" x2="{one:.1f}" y2="{y}" stroke="#8c959f" stroke-dasharray="3"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" fill="#24292f">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def text(x, y, words, anchor, size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {OUTLINE}>{escape(words)}</text>'
