"""The bus as figures: frames, graphs, and what a detector said of a log."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import NullFormatter, ScalarFormatter

from cangraph.figures import style
from cangraph.figures.style import ATTACK, BENIGN, MUTED, PALE

NAMED = 60  # IDs at most that can be read in one figure


def frames(timestamp, arbitration_id, attack, ax=None, title=None):
    """A window as its frames: ms since the first (x) against arbitration ID (y), attacks large.

    `timestamp` (n,) s, `arbitration_id` (n,), `attack` (n,) bool. Evenly spaced ticks are a
    periodic ID; look for what breaks the rhythm. At most 60 IDs, attacked and frequent ones first.
    """
    attack = np.asarray(attack, bool)
    ids, row, count = np.unique(arbitration_id, return_inverse=True, return_counts=True)
    attacked = np.bincount(row, attack, len(ids)) > 0
    kept = np.sort(np.argsort(-count - len(row) * attacked, kind="stable")[:NAMED])
    place = np.full(len(ids), np.nan)
    place[kept] = np.arange(len(kept))
    ax = style.axes(ax, np.clip(1.5 + 0.13 * len(kept), 2.4, 8.5))
    x, y = 1e3 * (timestamp - np.min(timestamp, initial=np.inf)), place[row]
    ax.hlines(place[kept], 0, x.max(initial=1), color=PALE, lw=0.8, zorder=0)
    ax.scatter(x[~attack], y[~attack], 26, BENIGN, marker="|", lw=1.6)
    ax.scatter(x[attack], y[attack], 30, ATTACK, lw=0.5, ec="white", zorder=3)
    style.rows(ax, style.id_names(ids[kept]))
    size = np.clip(50 * ax.bbox.height / ax.figure.dpi / max(len(kept), 1), 4.5, 9)
    for label, lit in zip(ax.get_yticklabels(), attacked[kept], strict=True):
        label.set(family="DejaVu Sans Mono", size=size, color=ATTACK if lit else MUTED)
    some = f" ({len(kept)} of {len(ids)})" if len(kept) < len(ids) else ""
    ax.set(xlabel="time since the first frame (ms)", ylabel=f"arbitration ID{some}")
    text = f"{attack.sum()} of {len(row)} frames are attacks, on {attacked.sum()} of {len(ids)} IDs"
    return style.title(ax, title or text, {"benign frame": BENIGN, "attack frame": ATTACK})


def graph(arbitration_id, edge_index, edge_weight, node_attack, edge_attack, ax=None, title=None):
    """A window as its graph: IDs clockwise from the top, arrows from each to the next on the bus.

    `arbitration_id` (N,); `edge_index` (2, E) positions in it; `edge_weight` (E,) counts, the
    arrows' width; `node_attack` (N,), `edge_attack` (E,) bool. A disc's area is the weighted
    degree, a ring an ID that follows itself. An injected ID is a hub: its arrows reach everywhere.
    Above 60 IDs only the chief are named.

    >>> ax = graph([0, 0x1A0], [[0, 1], [1, 0]], [3, 4], [True, False], [False, True])
    """
    n, (source, target) = len(arbitration_id), np.asarray(edge_index)
    weight = np.asarray(edge_weight, float)
    lit, lit_edge = np.asarray(node_attack, bool), np.asarray(edge_attack, bool)
    size = np.bincount(np.r_[source, target], np.r_[weight, weight], n).astype(float)

    xy, ax = style.circle(arbitration_id), style.axes(ax, 4.9)
    slot = 2 * np.pi * ax.bbox.height / ax.figure.dpi * 72 / 2.5 / n  # points of the circle a node
    disc = min(0.8 * slot, 24) * (0.4 + 0.6 * np.sqrt(size / size.max(initial=1e-9)))  # points
    width = np.clip(slot / 22, 0.5, 1) * (0.6 + 2.2 * np.sqrt(weight / weight.max(initial=1e-9)))
    _edges(ax, xy, source, target, width=width, lit=lit_edge, disc=disc)
    ax.scatter(*xy.T, disc**2, np.where(lit, ATTACK, BENIGN), ec="white", lw=0.8, zorder=4)

    chief = np.argsort(-size - 1e9 * lit, kind="stable")
    named = chief[: n if n <= NAMED else max(40, lit.sum())]
    ringed = np.isin(np.arange(n), source[source == target])
    gap = disc / 2 + 2 * ringed
    reach = 1.2 + _names(ax, xy, arbitration_id, named, lit=lit, gap=gap, slot=slot) / 130
    ax.update_datalim([(-reach, -reach), (reach, reach)])
    ax.set(xticks=[], yticks=[], xmargin=0, ymargin=0)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[:].set_visible(False)
    if not lit.any() and not lit_edge.any():
        return style.title(ax, title or f"{n} IDs, {weight.sum():.0f} successions")
    text = f"{weight[lit_edge].sum():.0f} of {weight.sum():.0f} successions touch an attacked ID"
    return style.title(ax, title or text, {"benign": BENIGN, "attack": ATTACK})


def _edges(ax, xy, source, target, *, width, lit, disc):
    """Bent arrows between nodes, and a ring around each that follows itself."""
    color = np.where(lit, ATTACK, BENIGN)
    for e in np.flatnonzero(source != target):
        a, b = source[e], target[e]
        look = {"alpha": 0.75 if lit[e] else 0.45, "lw": width[e], "zorder": 1 + lit[e]}
        _arrow(ax, xy[a], xy[b], disc[[a, b]] / 2 + (1, 1.5), look | {"color": color[e]})
    loop = np.flatnonzero(source == target)
    ring = {"ec": color[loop], "lw": width[loop], "zorder": 3}
    ax.scatter(*xy[source[loop]].T, (disc[source[loop]] + 5) ** 2, "none", **ring)


def _names(ax, xy, arbitration_id, named, *, lit, gap, slot):
    """Names outside the circle, `gap` points from each node; turned outwards where they would not
    fit side by side. Returns how far turned ones reach, in points."""
    names, font = style.id_names(arbitration_id), np.clip(0.75 * slot, 5.5, 9)
    length = 0.65 * font * max(map(len, names), default=0)  # points
    turned = length > slot
    for i in named:
        x, y = xy[i]
        side = "center" if abs(x) < 0.3 and not turned else "right" if x < -1e-9 else "left"
        away = gap[i] + (9 if side == "center" else 6)
        note = style.note(ax, names[i], xy[i], (away * x, away * y), ha=side, size=font)
        note.set(family="DejaVu Sans Mono", rotation_mode="anchor", color=MUTED)
        note.set_rotation((np.degrees(np.arctan2(y, x)) + 180 * (side == "right")) * turned)
        if lit[i]:
            note.set(color=ATTACK, weight="bold")
    return length * turned


def _arrow(ax, tail, head, shrink, look):
    """An arrow bent to the centre of the circle; two opposite ones lie .1 apart."""
    middle, chord = (tail + head) / 2, head - tail
    inward = np.sign(middle @ (-chord[1], chord[0])) or 1
    depth = 0.35 * np.linalg.norm(middle) / np.linalg.norm(chord)
    look |= {"connectionstyle": f"arc3,rad={inward * min(depth, 0.5) + 0.05}", "mutation_scale": 8}
    look |= {"arrowstyle": "-|>,head_length=.45,head_width=.2"}
    ax.add_patch(FancyArrowPatch(tail, head, shrinkA=shrink[0], shrinkB=shrink[1], **look))


def second(timestamp, mine, data, odd, usual, name, title=None):
    """What an ID did in a second or so, in three panels: frames of the bus in each 10 ms, the gap
    to the frame before, and the bytes of each payload.

    `timestamp` (n,) s, of all frames; `mine` (n,) bool, those of the ID; of these, `data` (m, 8)
    u1 and `odd` (m,) bool, those to look at; `usual`: its period in ms or None; its `name`. An
    injected frame stands under the dashed line, and in a payload that jumps and returns.
    """
    _, (top, middle, bottom) = plt.subplots(3, 1, sharex=True, figsize=(5.6, 4.2))
    time, own, odd = np.asarray(timestamp), timestamp[mine], np.asarray(odd, bool)
    bins = np.arange(time[0], time[-1] + 0.02, 0.01)
    of_all, of_own = (np.histogram(times, bins)[0] for times in (time, own))
    top.stairs(of_all, bins, fill=True, color=BENIGN)
    top.stairs(of_own, bins, fill=True, color=ATTACK)
    top.set(ylabel="frames/10 ms")
    gap = np.maximum(1e3 * np.diff(own), 0.01)  # a logarithm needs something
    for shown, color in ((~odd[1:], BENIGN), (odd[1:], ATTACK)):
        middle.plot(own[1:][shown], gap[shown], ".", color=color, ms=4)
    wide = len(gap) and gap.max() > 4 * gap.min()
    middle.set(yscale="log" if wide else "linear", ylabel="gap (ms)")
    middle.yaxis.set_major_formatter(ScalarFormatter())  # 10, not 10¹
    middle.yaxis.set_minor_formatter(NullFormatter())
    if usual:
        middle.axhline(usual, **style.DASHED)
        text = f"usual: {usual:,.1f} ms"
        place = middle.get_yaxis_transform()
        style.note(middle, text, (1, usual), (-3, 6), place, ha="right", bbox=style.PLAIN)
    if len(own):
        edges = np.r_[own, own[-1] + max(np.median(gap) / 1e3 if len(gap) else 0.01, 1e-3)]
        edges = np.maximum.accumulate(edges)
        bottom.pcolormesh(edges, np.arange(data.shape[1] + 1), data.T, vmin=0, vmax=255)
        bottom.plot(own[odd], np.full(odd.sum(), -0.5), "v", color=ATTACK, ms=3, clip_on=False)
    bottom.set(ylabel="byte", xlabel="time (s)", ylim=(data.shape[1], -0.9))
    bottom.locator_params("y", integer=True)
    text = f"{name}: {len(own):,} of {len(time):,} frames here, {odd.sum():,} of them odd"
    return style.heading([top, middle, bottom], title or text)


def watched(start, end, value, spans, at, name="", ax=None, title=None):
    """What a detector said of a log: the highest `value` in each stretch, windows from `start` to
    `end` (B,) s; alarms, `spans` (begin, end), shaded; the threshold `at` dashed; the `name` of
    the bus."""
    start, end, value = map(np.asarray, (start, end, value))
    ax = style.axes(ax, 1.55)
    for span in spans:
        ax.axvspan(*span, color=ATTACK, alpha=0.18, lw=0)
    if len(value):
        long = max(end[-1] - start[0], 1e-9)
        cell = np.minimum((400 * (start - start[0]) / long).astype(int), 399)
        first = np.flatnonzero(np.r_[True, np.diff(cell) > 0])
        most = np.maximum.reduceat(value, first)
        ax.vlines(start[first], min(0, value.min()), most, color=BENIGN, lw=1)
        lit = most >= at
        ax.plot(start[first][lit], most[lit], ".", color=ATTACK, ms=3)
    ax.axhline(at, **style.DASHED)
    ax.set(xlabel="time (s)", ylabel="score", xmargin=0)
    seconds = f"{(end - start[:1])[-1] if len(end) else 0:,.1f} s"
    long = f"{sum(b - a for a, b in spans):,.1f} of {seconds}"
    text = f"{len(spans):,} alarm{'' if len(spans) == 1 else 's'}, {long}"
    if not spans:
        text = f"No alarm in {seconds}; the highest score is {style.number(value.max(initial=0))}"
    return style.title(ax, title or f"{name + ': ' if name else ''}{text}")
