"""The bus as figures: frames, graphs, splits. NumPy arrays in, matplotlib `Axes` out.

Vermillion means attack, a calm blue benign. Every function takes `ax` (None: a new figure) and
`title` (None: a sentence made from the numbers) and returns its Axes.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.transforms import ScaledTranslation

__all__ = ["frames", "graph", "split_timeline", "balance", "canary"]

ATTACK, BENIGN, MUTED, PALE = "#D55E00", "#5B84AD", "#5F6C78", "#E4EAF0"
# colours of the style's cycle, and a grey
PART = {"train": "C0", "val": "C4", "calib": "C1", "test": "C2", "dropped": "#CDD4DB"}
NAMED = 60  # IDs at most that can be read in one figure


def frames(timestamp, arbitration_id, attack, ax=None, title=None):
    """A window as its frames: ms since the first (x) against arbitration ID (y), attacks large.

    `timestamp` (n,) s, `arbitration_id` (n,), `attack` (n,) bool. Evenly spaced ticks are a
    periodic ID; look for what breaks the rhythm. At most 60 IDs, attacked and frequent ones first.

    >>> ax = frames(np.array([0.0, 0.01]), np.array([0x1A0, 0x2B0]), np.array([False, True]))
    """
    attack = np.asarray(attack, bool)
    ids, row, count = np.unique(arbitration_id, return_inverse=True, return_counts=True)
    attacked = np.bincount(row, attack, len(ids)) > 0
    kept = np.sort(np.argsort(-count - len(row) * attacked, kind="stable")[:NAMED])
    place = np.full(len(ids), np.nan)
    place[kept] = np.arange(len(kept))
    ax = _axes(ax, np.clip(1.5 + 0.13 * len(kept), 2.4, 8.5))
    x, y = 1e3 * (timestamp - np.min(timestamp, initial=np.inf)), place[row]
    ax.hlines(place[kept], 0, x.max(initial=1), color=PALE, lw=0.8, zorder=0)
    ax.scatter(x[~attack], y[~attack], 26, BENIGN, marker="|", lw=1.6)
    ax.scatter(x[attack], y[attack], 30, ATTACK, lw=0.5, ec="white", zorder=3)
    _rows(ax, _hex(ids[kept]))
    size = np.clip(50 * ax.bbox.height / ax.figure.dpi / max(len(kept), 1), 4.5, 9)
    for label, lit in zip(ax.get_yticklabels(), attacked[kept], strict=True):
        label.set(family="DejaVu Sans Mono", size=size, color=ATTACK if lit else MUTED)
    some = f" ({len(kept)} of {len(ids)})" if len(kept) < len(ids) else ""
    ax.set(xlabel="time since the first frame (ms)", ylabel=f"arbitration ID{some}")
    text = f"{attack.sum()} of {len(row)} frames are attacks, on {attacked.sum()} of {len(ids)} IDs"
    return _title(ax, title or text, {"benign frame": BENIGN, "attack frame": ATTACK})


def graph(
    arbitration_id,
    edge_index,
    edge_weight=None,
    node_attack=None,
    edge_attack=None,
    node_weight=None,
    ax=None,
    title=None,
):
    """A window as its graph: IDs clockwise from the top, arrows from each to the next on the bus.

    `arbitration_id` (N,); `edge_index` (2, E) positions in it; `edge_weight` (E,) counts, the
    arrows' width; `node_attack` (N,), `edge_attack` (E,) bool (None: edges of attacked nodes);
    `node_weight` (N,) the discs' area (None: weighted degree). A ring is an ID that follows itself.
    An injected ID is a hub: its arrows reach everywhere. Above 60 IDs only the chief are named.

    >>> ax = graph(np.array([0, 0x1A0]), np.array([[0, 1], [1, 0]]), node_attack=np.array([1, 0]))
    """
    n, (source, target) = len(arbitration_id), np.asarray(edge_index, int).reshape(2, -1)
    weight = np.ones(len(source)) if edge_weight is None else np.asarray(edge_weight, float)
    lit = np.zeros(n, bool) if node_attack is None else np.asarray(node_attack, bool)
    lit_edge = lit[source] | lit[target] if edge_attack is None else np.asarray(edge_attack, bool)
    degree = np.bincount(np.r_[source, target], np.r_[weight, weight], n).astype(float)
    size = degree if node_weight is None else np.asarray(node_weight, float)
    color, edge_color = np.where(lit, ATTACK, BENIGN), np.where(lit_edge, ATTACK, BENIGN)

    angle = np.empty(n)
    angle[np.argsort(arbitration_id, kind="stable")] = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    xy = np.c_[np.cos(angle), np.sin(angle)].round(9) * (n > 1)
    ax = _axes(ax, 4.9)
    slot = 2 * np.pi * ax.bbox.height / ax.figure.dpi * 72 / 2.5 / n  # points of circle per node
    disc = min(0.8 * slot, 24) * (0.4 + 0.6 * np.sqrt(size / size.max(initial=1e-9)))  # points
    width = np.clip(slot / 22, 0.5, 1) * (0.6 + 2.2 * np.sqrt(weight / weight.max(initial=1e-9)))

    for e in np.flatnonzero(source != target):
        a, b, hot = source[e], target[e], lit_edge[e]
        look = {"alpha": 0.75 if hot else 0.45, "lw": width[e], "zorder": 1 + hot}
        _arrow(ax, xy[a], xy[b], disc[[a, b]] / 2 + (1, 1.5), color=edge_color[e], **look)
    loop = np.flatnonzero(source == target)
    ring = {"ec": edge_color[loop], "lw": width[loop], "zorder": 3}
    ax.scatter(*xy[source[loop]].T, (disc[source[loop]] + 5) ** 2, "none", **ring)
    ax.scatter(*xy.T, disc**2, color, ec="white", lw=0.8, zorder=4)

    names, font = _hex(arbitration_id), np.clip(0.75 * slot, 5.5, 9)
    length = 0.65 * font * max(map(len, names), default=0)  # points
    turned = length > slot  # labels read outwards where they would not fit side by side
    chief = np.argsort(-degree - 1e9 * lit, kind="stable")
    for i in chief[: n if n <= NAMED else max(40, lit.sum())]:
        x = np.cos(angle[i])
        side = "center" if abs(x) < 0.3 and not turned else "right" if x < -1e-9 else "left"
        gap = disc[i] / 2 + (9 if side == "center" else 6) + 2 * (i in source[loop])
        note = _note(ax, names[i], xy[i], (gap * x, gap * np.sin(angle[i])), ha=side, size=font)
        note.set(family="DejaVu Sans Mono", rotation_mode="anchor", color=MUTED)
        note.set_rotation((np.degrees(angle[i]) + 180 * (side == "right")) * turned)
        if lit[i]:
            note.set(color=ATTACK, weight="bold")
    reach = 1.2 + length / 130 * turned
    ax.update_datalim([(-reach, -reach), (reach, reach)])
    ax.set(xticks=[], yticks=[], xmargin=0, ymargin=0)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[:].set_visible(False)

    if not lit.any() and not lit_edge.any():
        return _title(ax, title or f"{n} IDs, {weight.sum():.0f} successions")
    text = f"{weight[lit_edge].sum():.0f} of {weight.sum():.0f} successions touch an attacked ID"
    return _title(ax, title or text, {"benign": BENIGN, "attack": ATTACK})


def split_timeline(capture, start, end, part, names, ax=None, title=None):
    """Which seconds of a capture serve what: a row a capture, a coloured bar a stretch.

    `capture` (B,) positions in `names`, `start`, `end` (B,) s, `part` (B,) of train, val, calib,
    test, dropped. Captures of one drive must not differ in colour at the same time.

    >>> t = np.arange(4.0)
    >>> ax = split_timeline(np.zeros(4, int), t, t + 1, np.array(["train"] * 3 + ["test"]), ["DoS"])
    """
    capture, start, end, part = map(np.asarray, (capture, start, end, part))
    ax = _axes(ax, np.clip(1.3 + 0.26 * len(names), 2, 9))
    seconds = dict.fromkeys([*PART, *np.unique(part).tolist()], 0.0)
    for row in np.unique(capture):
        mine = np.flatnonzero(capture == row)
        mine = mine[np.argsort(start[mine], kind="stable")]
        s, e, p = start[mine] - start[mine[0]], end[mine] - start[mine[0]], part[mine]
        breaks = (p[1:] != p[:-1]) | (s[1:] - e[:-1] > np.median(e - s))
        first = np.r_[0, 1 + np.flatnonzero(breaks)]
        spans = np.c_[s[first], np.maximum.reduceat(e, first) - s[first]]
        for name in np.unique(p).tolist():
            mine = spans[p[first] == name]
            seconds[name] += mine[:, 1].sum()
            ax.broken_barh(mine, (row - 0.32, 0.64), color=PART.get(name, MUTED), lw=0)
    _rows(ax, names)
    ax.margins(x=0.01)
    ax.set(xlabel="time since the capture's first window (s)")
    used = {name: s for name, s in seconds.items() if s}
    text = ", ".join(f"{100 * s / sum(used.values()):.0f} % {name}" for name, s in used.items())
    return _title(ax, title or text, {name: PART.get(name, MUTED) for name in used})


def balance(names, attack_share, counts, ax=None, title=None):
    """Share of attack windows by capture: (n,) names, shares 0 to 1, window counts at the right.

    Where a bar is nearly empty or nearly full, accuracy says little.

    >>> ax = balance(["DoS", "fuzzing"], np.array([0.3, 0.02]), np.array([900, 1200]))
    """
    ax = _axes(ax, 1.1 + 0.28 * len(names))
    share, counts = np.asarray(attack_share, float), np.asarray(counts)
    known = np.isfinite(share)
    length = np.where(known, share, 0)
    ax.barh(range(len(names)), np.ones(len(names)), 0.62, color=PALE)
    ax.barh(range(len(names)), length, 0.62, color=ATTACK)
    for i, n in enumerate(counts):
        inside = {"color": "white", "ha": "right"} if length[i] > 0.8 else {}
        _note(ax, _percent(share[i]), (length[i], i), (-4 if inside else 4, 0), **inside)
        _note(ax, f"{n:,}" + " windows" * (i == 0), (1, i), (6, 0), color=MUTED)
    _rows(ax, names)
    ax.set(xticks=[], xlim=(0, 1))
    ax.spines.bottom.set_visible(False)
    windows = counts[known].sum()
    overall = _percent((share * counts)[known].sum() / max(windows, 1))
    return _title(ax, title or f"{overall} of {windows:,} windows hold an attack")


def canary(names, value, attack, cut=None, xlabel="", ax=None, title=None):
    """One number by capture, highest first: (n,) names, values, `attack` bool for the colour.

    Where the colours stand apart, the number tells the file and no detector may see it. `cut`:
    the value that parts them best, dashed.

    >>> ax = canary(["DoS", "clean"], np.array([0.6, 0.0]), np.array([True, False]), cut=0.3)
    """
    value, attack = np.asarray(value, float), np.asarray(attack, bool)
    order = np.argsort(-value, kind="stable")
    ax = _axes(ax, 1.4 + 0.21 * len(names))
    color = np.where(attack, ATTACK, BENIGN)[order]
    ax.hlines(range(len(names)), 0, value[order], color=color, lw=1.5)
    ax.scatter(value[order], range(len(names)), 30, color, zorder=3)
    _rows(ax, [names[i] for i in order])
    ax.set(xlabel=xlabel, xlim=(-0.02, 1.02))
    text = f"From {_percent(value.min())} to {_percent(value.max())}"
    if cut is not None:
        ax.axvline(cut, color=MUTED, lw=1, ls=(0, (4, 3)))
        _note(ax, f"cut at {_percent(cut)}", (cut, len(names) - 0.8), (4, 0), color=MUTED)
        right = ((value >= cut) == attack).sum()
        text = f"A cut tells {right} of {len(names)} captures rightly"
    return _title(ax, title or text, {"holds an attack": ATTACK, "no attack": BENIGN})


def _axes(ax, height):
    return ax or plt.subplots(figsize=(5.6, height), layout="constrained")[1]


def _title(ax, text, key=()):
    """A title flush with the tick labels, 13 characters an inch; under it a key: name → colour."""
    dpi, labels = ax.figure.dpi, ax.yaxis.get_tightbbox()
    left = min(labels.x0 - ax.bbox.x0, 0) / dpi if labels else 0
    shift = ScaledTranslation(left, 0, ax.figure.dpi_scale_trans)
    text = fill(text, max(12, int(13 * ax.bbox.width / dpi)))
    artist = ax.set_title(text, loc="left", pad=25 if key else 9)
    artist.set_transform(artist.get_transform() + shift)
    if key:
        dots = [Line2D([], [], c=c, marker="o", ls="", ms=6, label=name) for name, c in key.items()]
        look = {"borderaxespad": 0.4, "borderpad": 0, "handletextpad": 0.4, "handlelength": 0.6}
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "columnspacing": 1.2}
        transform = ax.transAxes + shift
        ax.legend(handles=dots, ncols=len(dots), bbox_transform=transform, **place, **look)
    return ax


def _note(ax, text, xy, offset, **look):
    """A small direct label, `offset` points away from `xy`."""
    look = {"size": 8.5, "va": "center"} | look
    offset = {"xytext": offset, "textcoords": "offset points", "annotation_clip": False}
    return ax.annotate(text, xy, **offset, **look)


def _rows(ax, names):
    """Named rows from the top down."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.tick_params("y", length=0)
    ax.spines.left.set_visible(False)


def _arrow(ax, tail, head, shrink, **look):
    """An arrow bent to the centre of the circle; two opposite ones lie .1 apart."""
    middle, chord = (tail + head) / 2, head - tail
    inward = np.sign(middle @ (-chord[1], chord[0])) or 1
    depth = 0.35 * np.linalg.norm(middle) / np.linalg.norm(chord)
    bend = {"connectionstyle": f"arc3,rad={inward * min(depth, 0.5) + 0.05}"}
    tip = {"arrowstyle": "-|>,head_length=.45,head_width=.2", "mutation_scale": 8}
    shrink = {"shrinkA": shrink[0], "shrinkB": shrink[1]}
    ax.add_patch(FancyArrowPatch(tail, head, **shrink, **bend, **tip, **look))


def _hex(arbitration_id):
    return [f"{i:03X}" if i <= 0x7FF else f"{i:08X}" for i in np.asarray(arbitration_id).tolist()]


def _percent(share):
    digits = 0 if share in (0, 1) else 2 if min(share, 1 - share) < 0.005 else 1
    return f"{100 * share:.{digits}f} %" if np.isfinite(share) else "undefined"
