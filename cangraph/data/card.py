"""The data card: what a dataset holds, and what in it could fool a reader of the results."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from cangraph.data.datasets import same_recording
from cangraph.data.graphs import Graphs
from cangraph.frames import CaptureInfo, Frames

__all__ = ["data_card", "shared_between"]

SHORT_GAP = 50e-6  # s; the shortest frame lasts 94 µs at 500 kbit/s: the logger made such a gap
_LEAK = 0.9  # AUROC from which on short gaps are said to tell the captures apart
_OFTEN = 0.1  # share of repeated test frames from which on the card warns


def data_card(captures: Sequence[Frames], graphs: Graphs) -> dict:
    """The data card of a dataset, ready for JSON; None stands for undefined.

    - `captures`: a row each. Shares are 0 to 1, `seconds` s; `short_gaps` is the share of gaps
      under 50 µs, `duplicates` the share of a test capture's frames whose (ID, data) some
      training capture holds (also one that `split` leaves out), `copies` names its copies that
      were left out.
    - `totals`: the rows summed, and the distinct vehicles and arbitration IDs.
    - `shared_recordings`: captures that derive from one recording, a list for each recording.
    - `duplicates`: the same over all test frames.
    - `leak_canary`: the AUROC over captures of `short_gaps` as a detector of captures with
      attacks, the cut that puts most captures on the right side, and the verdict.
    - `unlabelled`: captures outside the attack-free scenario without a frame labelled attack.
    - `warnings`: what follows from all that, in sentences.

    Raises `ValueError` when `graphs` are not those of `captures`.

    >>> from cangraph.data.graphs import to_graphs
    >>> log = Frames(np.arange(9) * 1e-3, np.arange(9) % 3, name="a", scenario="test_01")
    >>> data_card([log], to_graphs([log], 3, 3))["warnings"]
    ['1 capture outside the attack-free scenario has no frame labelled attack: test_01 a. No
    detection can be measured there.']
    """
    infos = [capture.info for capture in captures]
    if infos != list(graphs.captures):
        raise ValueError(
            f"data_card: {len(captures)} captures and graphs of {len(graphs.captures)} came that "
            "are not the same; expected the captures that the graphs were made of; "
            "call to_graphs(captures) again"
        )
    repeated = _repeated(captures)
    windows = np.bincount(graphs.capture, minlength=len(infos)).tolist()
    attacked = np.bincount(graphs.capture, graphs.label, len(infos)).astype(int).tolist()
    rows = [
        _row(capture, info, *counts)
        for capture, info, *counts in zip(captures, infos, windows, attacked, repeated, strict=True)
    ]
    card = {
        "captures": rows,
        "totals": _totals(captures, rows),
        "shared_recordings": _shared(infos),
        "duplicates": _duplicates(rows),
        "leak_canary": _leak_canary(rows),
        "unlabelled": [
            row["capture"]
            for row in rows
            if not row["attack_frames"] and "attack_free" not in row["scenario"]
        ],
    }
    return card | {"warnings": _warnings(card)}


def shared_between(datasets: Mapping[str, Sequence[Frames]]) -> list[list[str]]:
    """Captures of more than one dataset that derive from one recording, a list for each recording.

    `datasets`: name → captures. A model trained on one dataset must not be tested on a capture
    of another that stands in the same list.

    >>> log = Frames(np.arange(99.), np.arange(99) % 7, data=np.arange(99 * 8).reshape(99, 8) % 251)
    >>> shared_between({"set_01": [log.label(name="a")], "set_02": [log[9:].label(name="b")]})
    [['set_01 a', 'set_02 b']]
    """
    owners = [name for name, captures in datasets.items() for _ in captures]
    everything = [capture for captures in datasets.values() for capture in captures]
    # the datasets reuse names for different drives, and same_recording knows drives by name
    numbered = [c.label(name=str(i), scenario="") for i, c in enumerate(everything)]
    groups: dict[str, list[int]] = {}
    for i, recording in enumerate(same_recording(numbered)):
        groups.setdefault(recording, []).append(i)
    return [
        [f"{owners[i]} {everything[i].info.label}" for i in group]
        for group in groups.values()
        if len({owners[i] for i in group}) > 1
    ]


def _row(
    capture: Frames, info: CaptureInfo, windows: int, attacked: int, repeated: int | None
) -> dict:
    gaps = np.diff(capture.timestamp)
    return {
        "capture": info.label,
        "scenario": info.scenario,
        "name": info.name,
        "vehicle": info.vehicle,
        "recording": info.recording,
        "frames": info.frames,
        "arbitration_ids": info.arbitration_ids,
        "seconds": info.seconds,
        "attack_frames": info.attack_frames,
        "attack_frame_share": _share(info.attack_frames, info.frames),
        "windows": windows,
        "attack_windows": attacked,
        "attack_window_share": _share(attacked, windows),
        "reordered": info.reordered,
        "short_gaps": _share(int((gaps < SHORT_GAP).sum()), len(gaps)),
        "repeated_frames": repeated,
        "duplicates": None if repeated is None else _share(repeated, info.frames),
        "copies": list(capture.copies),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _totals(captures: Sequence[Frames], rows: list[dict]) -> dict:
    summed = ("frames", "attack_frames", "windows", "attack_windows", "seconds", "reordered")
    sums = {name: sum(row[name] for row in rows) for name in summed}
    return {
        "captures": len(rows),
        "vehicles": sorted({row["vehicle"] for row in rows}),
        "arbitration_ids": len(np.unique(np.concatenate([c.arbitration_id for c in captures]))),
        **sums,
        "attack_frame_share": _share(sums["attack_frames"], sums["frames"]),
        "attack_window_share": _share(sums["attack_windows"], sums["windows"]),
        "copies": sum(len(row["copies"]) for row in rows),
    }


def _repeated(captures: Sequence[Frames]) -> list[int | None]:
    """Frames of each test capture whose (ID, data) a training capture holds; None in training."""
    is_train = [capture.scenario.startswith("train") for capture in captures]
    words = -(-max(capture.data.shape[1] for capture in captures) // 8)
    tables = [_messages(capture, words) for capture in captures]
    trained = [table.unique() for table, t in zip(tables, is_train, strict=True) if t]
    if not trained:
        return [None] * len(captures)
    known = pl.concat(trained).unique()
    return [
        None if t else table.join(known, on=known.columns, how="semi").height
        for table, t in zip(tables, is_train, strict=True)
    ]


def _messages(frames: Frames, words: int) -> pl.DataFrame:
    """(arbitration_id, data) of each frame, the payload as words of 8 bytes."""
    padded = np.zeros((len(frames), 8 * words), np.uint8)
    padded[:, : frames.data.shape[1]] = frames.data
    columns = {f"word_{i}": word.copy() for i, word in enumerate(padded.view("<u8").T)}
    return pl.DataFrame({"id": frames.arbitration_id, "dlc": frames.dlc} | columns)


def _shared(infos: Sequence[CaptureInfo]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for info in infos:
        groups.setdefault(info.recording, []).append(info.label)
    return [group for recording, group in groups.items() if recording and len(group) > 1]


def _duplicates(rows: list[dict]) -> dict:
    tested = [row for row in rows if row["repeated_frames"] is not None]
    repeated = sum(row["repeated_frames"] for row in tested)
    frames = sum(row["frames"] for row in tested)
    return {"frames": repeated, "of": frames, "share": _share(repeated, frames)}


def _leak_canary(rows: list[dict]) -> dict:
    """How well one number, which no attack needs, tells captures with attacks from the others."""
    from sklearn.metrics import roc_auc_score

    known = [row for row in rows if row["short_gaps"] is not None]
    value = np.array([row["short_gaps"] for row in known])
    attack = np.array([row["attack_frames"] > 0 for row in known], bool)
    with_attacks, of = int(attack.sum()), len(known)
    if with_attacks in (0, of):
        verdict = f"Undefined: {'every' if with_attacks else 'no'} capture holds an attack"
        return dict.fromkeys(("auroc", "cut", "right")) | {
            "of": of,
            "leaks": False,
            "verdict": verdict,
        }
    auroc = float(roc_auc_score(attack, value))
    steps = np.unique(value)
    cuts = np.r_[0.0, (steps[1:] + steps[:-1]) / 2]  # at 0 every capture is called attacked
    rights = ((value >= cuts[:, None]) == attack).sum(1)
    best = int(rights.argmax())
    leaks = auroc >= _LEAK
    verdict = (
        f"Gaps under 50 µs tell of {rights[best]} of {of} captures whether they hold an attack"
        if leaks
        else "Gaps under 50 µs do not tell which captures hold an attack"
    )
    return {
        "auroc": auroc,
        "cut": float(cuts[best]),
        "right": int(rights[best]),
        "of": of,
        "leaks": leaks,
        "verdict": f"{verdict} (AUROC {auroc:.2f})",
    }


def _warnings(card: dict) -> list[str]:
    rows, canary, repeated = card["captures"], card["leak_canary"], card["duplicates"]
    warnings = []
    if canary["leaks"]:
        warnings.append(
            f"{canary['verdict']}, at a cut of {canary['cut']:.0%} of the gaps. Gap statistics "
            "finer than 1 ms would leak the file; cangraph quantises gaps to 1 ms."
        )
    if copied := [row for row in rows if row["copies"]]:
        pairs = (f"{row['capture']} (again as {', '.join(row['copies'])})" for row in copied)
        warnings.append(
            f"{_count(card['totals']['copies'], 'capture')} left out, equal to others frame by "
            f"frame: {'; '.join(pairs)}."
        )
    if groups := card["shared_recordings"]:
        warnings.append(
            f"{_count(sum(map(len, groups)), 'capture')} derive from only "
            f"{_count(len(groups), 'recording')}: {'; '.join(' = '.join(g) for g in groups)}. "
            "They are not independent; split keeps each recording on one side."
        )
    if repeated["share"] and repeated["share"] >= _OFTEN:
        shares = [row for row in rows if row["duplicates"] is not None]
        most = max(shares, key=lambda row: row["duplicates"])
        warnings.append(
            f"{repeated['share']:.1%} of the {repeated['of']:,} test frames repeat the ID and "
            f"payload of a training frame, most in {most['capture']} ({most['duplicates']:.1%}): "
            "a model that remembers messages looks good there."
        )
    if unlabelled := card["unlabelled"]:
        warnings.append(
            f"{_count(len(unlabelled), 'capture')} outside the attack-free scenario "
            f"{'has' if len(unlabelled) == 1 else 'have'} no frame labelled attack: "
            f"{', '.join(unlabelled)}. No detection can be measured there."
        )
    if backward := [row for row in rows if row["reordered"]]:
        most = max(backward, key=lambda row: row["reordered"])
        warnings.append(
            f"Timestamps step backwards {_count(card['totals']['reordered'], 'time')} in "
            f"{_count(len(backward), 'capture')}, most in {most['capture']} "
            f"({most['reordered']:,}): frames were sorted by time, stably."
        )
    return warnings


def _count(n: int, noun: str) -> str:
    """
    >>> _count(1, "capture"), _count(1200, "frame")
    ('1 capture', '1,200 frames')
    """
    return f"{n:,} {noun}" + "s" * (n != 1)
