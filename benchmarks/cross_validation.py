"""How much a result depends on what was held out: splits by time, recording, vehicle and attack.

Every fold keeps the rules of `splits.split`: no recording on two sides, a gap at every border, val
and calib from what is trained on. What the dataset's authors set aside for the test stays aside, so
that folds may be used to choose, unless it is asked for.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, TimeSeriesSplit

from cangraph.data.graphs import Graphs
from cangraph.data.splits import PARTS, Split, by_time, complete, nameless, separated
from cangraph.data.synthesis import Synthesis
from cangraph.frames import ATTACK_TYPES, Frames
from cangraph.params import Params, SplitParams

__all__ = ["Fold", "leave_out", "walk_forward"]

_TEST, _DROPPED = PARTS.index("test"), PARTS.index("dropped")


@dataclass(frozen=True, eq=False, kw_only=True)
class Fold(Split):
    """A `Split` that tests what was `held` out. `seconds` says how much of each capture that is
    trained on, by (scenario, name), comes before what is held out (inf: all of it), which is cut
    into train, val and calib as `cut` says."""

    held: str
    seconds: Mapping[tuple[str, str], float]
    cut: SplitParams

    def material(self, clean: Sequence[Frames], params: Params) -> Synthesis:
        """What `fit` takes for attacks that are synthesised: of the `clean` captures of the dataset
        (`datasets.clean_captures`), as much as this fold may train on, cut as its windows are.

        Raises `ValueError` for a capture that is not of the fold's dataset, and as `Synthesis`.
        """
        known = {(info.scenario, info.name) for info in self.graphs.captures}
        if foreign := [c.name for c in clean if (c.scenario, c.name) not in known]:
            raise ValueError(
                f"Fold.material: {', '.join(foreign)} is not among the captures of the fold; "
                "expected captures that its graphs were made of; use datasets.clean_captures"
            )
        mine = []
        for capture in clean:
            until = self.seconds.get((capture.scenario, capture.name))
            if until is not None:
                since = capture.timestamp - capture.timestamp[0]
                mine.append(capture[: int(np.searchsorted(since, until, "right"))])
        return Synthesis(self, mine, params.model_copy(update={"split": self.cut}))


def walk_forward(graphs: Graphs, params: SplitParams, folds: int = 4) -> Iterator[Fold]:
    """Folds that train on the past of each training recording and test its next span of time, which
    the folds after it train on (scikit-learn's `TimeSeriesSplit` over the `blocks` of `params`).

    Recordings that several captures share are trained on whole and never tested, since their times
    cannot be told to match; recordings of official test captures are left out, as these are.

    Raises `ValueError` when the blocks are too few for the folds, or as `splits.split`.

    >>> from cangraph.data.graphs import to_graphs
    >>> from cangraph.bus.simulator import simulate
    >>> drive = simulate("aster", 20.0).label(scenario="train_01_attack_free", recording="a")
    >>> cut = SplitParams(blocks=20, val=0.2, calib=0.2, gap=0.1, most=20_000)
    >>> for fold in walk_forward(to_graphs([drive]), cut, folds=3):
    ...     print(fold.held, len(fold.train), len(fold.test))
    25 to 50 % of the time 35 68
    50 to 75 % of the time 69 68
    75 to 100 % of the time 104 67
    """
    if not 2 <= folds < params.blocks:
        raise ValueError(
            f"walk_forward: {folds} folds of {params.blocks} blocks; expected two or more, and "
            "fewer than split.blocks; use fewer folds, or more blocks"
        )
    trained, official = _sides(graphs)
    seconds = np.array([info.seconds for info in graphs.captures])
    for past, ahead in TimeSeriesSplit(folds).split(np.arange(params.blocks)):
        begin, stop = (seconds * n / params.blocks for n in (ahead[0], ahead[-1] + 1))
        learnt = begin - params.gap
        cut = params.model_copy(update={"blocks": len(past)})
        part = by_time(graphs, cut, learnt.clip(0.0))
        part[graphs.end > learnt[graphs.capture]] = _DROPPED
        since = graphs.start >= (begin + params.gap)[graphs.capture]
        part[since & (graphs.start < stop[graphs.capture])] = _TEST
        part, notes = separated(graphs, part, trained, official)
        part[official[graphs.capture]] = _DROPPED
        share = [100 * n // params.blocks for n in (ahead[0], ahead[-1] + 1)]
        fold = Fold(
            graphs,
            part,
            notes,
            held=f"{share[0]} to {share[1]} % of the time",
            seconds=_seconds(graphs, trained, official, learnt),
            cut=cut,
        )
        yield complete(fold, 4)


def leave_out(
    graphs: Graphs,
    params: SplitParams,
    by: Literal["recording", "vehicle", "attack"] = "recording",
    folds: int | None = None,
    official: bool = False,
) -> Iterator[Fold]:
    """Folds that each test the training captures of one base recording, vehicle or attack, and
    train on the others (scikit-learn's `LeaveOneGroupOut`), or of as many as `folds` asks for
    (`GroupKFold`). A training capture that shares its recording with one that is held out is left
    out of that fold. By attack, captures without any are always trained on; `Fold.material` draws
    attacks of every kind all the same, so for one that is unknown in every way pass the fold itself
    to `fit`, or set `fit.train_on` to labelled.

    With `official`, the official test captures are held out and trained on like the others, those
    without a labelled attack held out only, since nobody vouches that they are clean. Otherwise
    they are left out, as are the recordings they stem from. `held` names what a fold holds out.

    Raises `ValueError` for fewer than two groups, more folds than groups, captures without a
    vehicle, by attack captures under several of them, and as `splits.split`.

    >>> from cangraph.data.graphs import to_graphs
    >>> from cangraph.bus.simulator import simulate
    >>> drives = [simulate(car, 9.0).label(scenario="train_01_attack_free", recording=car)
    ...           for car in ("aster", "borage", "clover")]
    >>> cut = SplitParams(blocks=10, val=0.2, calib=0.2, gap=0.1, most=20_000)
    >>> [fold.held for fold in leave_out(to_graphs(drives), cut, by="vehicle", folds=2)]
    ['aster and clover', 'borage']
    """
    trained, tests = _sides(graphs)
    captures = graphs.captures
    attacks = [_attacks(graphs, number) for number in range(len(captures))]
    closed = {info.recording for info, test in zip(captures, tests, strict=True) if test}
    if official:
        pool = np.ones(len(captures), bool)
        trained = trained | np.array([bool(names) for names in attacks])
        tests, closed = np.zeros(len(captures), bool), set()
    else:
        pool = trained & np.array([info.recording not in closed for info in captures])
    match by:
        case "recording":
            groups = [info.recording for info in captures]
        case "vehicle":
            groups = [info.vehicle for info in captures]
        case "attack":
            groups = attacks
            pool &= np.array([bool(name) for name in groups])
            if several := [captures[k].label for k in np.flatnonzero(pool) if "+" in groups[k]]:
                raise ValueError(
                    f"leave_out: {', '.join(several)} came under several attacks; expected one in "
                    "a capture; hold out by recording"
                )
        case _:
            raise ValueError(
                f"leave_out: by = {by!r}; expected recording, vehicle or attack; choose one"
            )
    unknown = tuple(
        f"{info.scenario}/{info.name} is not trained on: no attack is labelled in it, and nobody "
        "says that it is clean"
        for info, mine in zip(captures, trained | tests, strict=True)
        if not mine
    )
    candidates = np.flatnonzero(pool)
    named = [groups[number] for number in candidates]
    if unnamed := [captures[k].label for k in candidates if not groups[k]]:
        raise ValueError(
            f"leave_out: {', '.join(unnamed)} came without a {by}; expected one for every capture; "
            "label them with Frames.label"
        )
    kinds = len(set(named))
    if kinds < 2 or not 2 <= (folds or kinds) <= kinds:
        raise ValueError(
            f"leave_out: {kinds} of {by} ({', '.join(sorted(set(named)))}), folds = {folds}; "
            "expected two or more of them, and no more folds; hold out by something else"
        )
    splitter = GroupKFold(folds) if folds else LeaveOneGroupOut()
    for _, held in splitter.split(candidates, groups=named):
        out = np.zeros(len(captures), bool)
        out[candidates[held]] = True
        part, notes = separated(graphs, by_time(graphs, params), trained & ~out, out | tests)
        part[tests[graphs.capture]] = _DROPPED
        fold = Fold(
            graphs,
            part,
            notes + unknown,
            held=" and ".join(sorted({named[k] for k in held})),
            seconds=_seconds(graphs, trained & ~out, out | tests, np.full(len(captures), np.inf)),
            cut=params,
        )
        yield complete(fold, 4)


def _sides(graphs: Graphs) -> tuple[np.ndarray, np.ndarray]:
    """Which captures are for training and which are official tests, bool (captures,) each."""
    nameless(graphs)
    names = [(info.scenario, info.name) for info in graphs.captures]
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(
            f"folds: several captures are named {' and '.join(map('/'.join, twice))}; expected "
            "names that tell them apart; rename them with Frames.label"
        )
    trained = np.array([scenario.startswith("train") for scenario, _ in names])
    return trained, ~trained


def _attacks(graphs: Graphs, number: int) -> str:
    """The attacks in a capture by name; empty if there is none."""
    mine = graphs.label & (graphs.capture == number)
    return "+".join(ATTACK_TYPES[code] for code in np.unique(graphs.attack_type[mine]))


def _seconds(graphs: Graphs, trained, tested, learnt) -> dict[tuple[str, str], float]:
    """How much of each capture is trained on: `learnt` seconds, whole where several captures share
    the recording, none where a tested one does."""
    captures = graphs.captures
    count = Counter(info.recording for info, mine in zip(captures, trained, strict=True) if mine)
    lost = {info.recording for info, mine in zip(captures, tested, strict=True) if mine}
    return {
        (info.scenario, info.name): float("inf" if count[info.recording] > 1 else learnt[number])
        for number, info in enumerate(captures)
        if trained[number] and info.recording not in lost
    }
