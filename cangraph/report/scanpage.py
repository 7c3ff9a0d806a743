"""`cangraph scan`: the command, and what `scan` found as text and as a page."""

import base64
import io
import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
from rich.console import Console

from cangraph.deploy.box import boxed, takes_detector
from cangraph.deploy.detector import Exported, Status
from cangraph.features.baseline import Baseline
from cangraph.files import apart, printable, put
from cangraph.io.names import Names
from cangraph.io.readers import read_frames
from cangraph.report.pages import shell
from cangraph.report.scanned import Scan, scan, unreadable

SHOWN = 8  # alarms with a picture, rows on the first screen
_SECOND = 0.5  # s of a picture on either side of the frame


def run_scan(words: Sequence[str]) -> int:
    """Run `cangraph scan`; returns its exit status. Raises `ValueError` and `OSError` where the
    detector or the DBC cannot be read."""
    about = "Say whether logs look under attack, when, which ID, and why. Exit status: 0 nothing "
    about += "was found, 1 an alarm, 2 a log that cannot be read, 3 one that was not judged."
    parser = ArgumentParser("cangraph scan", description=about)
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="in any known format")
    takes_detector(parser)
    clean = "clean traffic of the same vehicle, to know what is normal there (repeated)"
    parser.add_argument("--baseline", type=Path, action="append", metavar="LOG", help=clean)
    parser.add_argument("--html", type=Path, metavar="OUT", help="write a page as well")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--dbc", type=Path, help="names of messages and signals (needs cantools)")
    table = parser.add_argument_group("a log that is a table of an unknown format")
    column = "timestamp=t, arbitration_id=addr, data=b0,b1,… (repeated)"
    table.add_argument("--column", action="append", default=[], metavar="NAME=HEADING", help=column)
    table.add_argument(
        "--time-unit", choices=["s", "ms", "us", "ns"], help="unit of its timestamps"
    )
    table.add_argument("--base", type=int, choices=[10, 16], help="number base of its IDs")
    given = parser.parse_args(words)
    if given.html:
        apart(given.html, [*given.logs, *(given.baseline or ()), given.detector, given.dbc])
    columns = dict(map(_named_column, given.column)) or None
    reading = {"columns": columns, "time_unit": given.time_unit, "base": given.base}
    names = Names(given.dbc) if given.dbc else None
    detector = Exported(given.detector or boxed())
    if given.baseline:
        before = [read_frames(log, strict=False, **reading) for log in given.baseline]
        detector.baseline = Baseline.learn(before)
    scans = []
    for log in given.logs:
        try:
            scans.append(scan(log, detector, names, Console(stderr=True), **reading))
        except (ValueError, OSError) as error:
            scans.append(unreadable(log, error, detector))
        if not given.json:
            print(told(scans[-1]), flush=True)
    status = Status.worst(found.status for found in scans)
    if given.json:
        about_it = {"file": str(detector.path), "sha256": detector.sha256, "kind": detector.kind}
        facts = {"schema": 1, "status": status.value, "detector": about_it}
        print(json.dumps(facts | {"logs": [found.facts for found in scans]}, allow_nan=False))
    if given.html:
        put(given.html, page(scans).encode())
        if not given.json:
            print(f"{given.html} shows it")
    return status


def _named_column(word: str) -> tuple[str, str | int | list[str | int]]:
    """One column of a table by its heading, or, without headings, by its number from 0.

    >>> _named_column("timestamp=t"), _named_column("data=b0,b1"), _named_column("dlc=2")
    (('timestamp', 't'), ('data', ['b0', 'b1']), ('dlc', 2))
    """
    name, equals, headings = word.partition("=")
    if not (name and equals and headings):
        raise ValueError(f"--column {word}: expected NAME=HEADING; write timestamp=t")
    found = [int(part) if part.isdigit() else part for part in headings.split(",")]
    return name, found[0] if len(found) == 1 else found


# what is said, in text and on the page: said.txt


@cache
def _templates(pages: bool) -> Any:
    """The templates of pages, which escape what comes from a file, or of text."""
    import jinja2
    from markupsafe import Markup

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("cangraph.report", ""),
        undefined=jinja2.StrictUndefined,
        autoescape=pages,
        # without what a terminal would obey; markup is of our own templates
        finalize=lambda said: said if hasattr(said, "__html__") else printable(said),
        trim_blocks=True,
    )

    def block(lines: str, margin: int, mark: str = "") -> Markup:  # whose parts are clean
        return Markup(indent(lines.strip(), " " * margin + mark))

    made.filters["block"] = block
    return made


def ranked(found: Scan) -> list[dict[str, Any]]:
    """The alarms that are shown, the most certain and highest of them, in order of time."""
    order = ("high", "medium", "low")
    first = sorted(found.facts["alarms"], key=lambda a: (order.index(a["sure"]), -a["peak"]))
    return sorted(first[:SHOWN], key=lambda alarm: alarm["begin"])


def alarm_rows(found: Scan) -> list[dict[str, str]]:
    """The alarms that are shown as rows of a table."""
    said = _templates(pages=False).get_template("said.txt").module
    return [
        {"at": f"{alarm['begin']:,.2f} s", "for": said.lasted(alarm)}
        | {"ID": said.who(alarm), "attack": alarm["kind"] or "unknown", "certainty": alarm["sure"]}
        | {"because": said.reason_lines(alarm).split("\n")[0].partition(" s: ")[2]}
        for alarm in ranked(found)
    ]


def told(found: Scan) -> str:
    """A scan as text, without what a terminal would obey."""
    template = _templates(pages=False).get_template("scan.txt")
    return template.render(facts=found.facts, shown=ranked(found)).rstrip("\n")


# the page


def page(scans: Sequence[Scan]) -> str:
    """Scans as one page that needs nothing else: the verdict on one screen, then each alarm. Logs
    that raise one come first."""
    from cangraph import figures

    made = {part.__name__: part for part in (ranked, alarm_rows, timeline, picture, png, Path)}
    pictures = max(SHOWN // len(scans), 1)  # of a log
    scans = sorted(scans, key=lambda found: not found.facts["alarms"])
    with _drawing():
        figures.use_style()
        template = _templates(pages=True).get_template("scan.html")
        return shell(template.render(made, scans=scans, pictures=pictures), "scan")


@contextmanager
def _drawing() -> Iterator[None]:
    """Figures without a window, and no setting of them left behind."""
    import matplotlib
    import matplotlib.pyplot as plt

    backend = plt.get_backend()
    with matplotlib.rc_context():
        plt.switch_backend("agg")
        yield
    plt.switch_backend(backend)


def timeline(found: Scan, bus: str) -> Any:
    """The scores of a bus and its alarms, as matplotlib Axes."""
    from cangraph import figures

    one = found.streams[bus]
    start, end, value = one.windows.T
    alarms = [alarm for alarm in found.facts["alarms"] if alarm["bus"] == bus]
    spans = [(alarm["begin"], alarm["end"]) for alarm in alarms]
    times = start + one.since, end + one.since
    return figures.watched(*times, value, spans, found.detector.threshold, name=bus)


def picture(found: Scan, alarm: dict[str, Any]) -> Any:
    """What the ID of an alarm did in the second around its frame, as matplotlib Axes; where many
    IDs are blamed, what all that are new did."""
    from cangraph import figures

    one = found.streams[alarm["bus"]]
    time = one.frames.timestamp - one.frames.timestamp[0] + one.since
    middle = (alarm["frame"] or {"time": alarm["begin"]})["time"]
    begin, end = np.searchsorted(time, [middle - _SECOND, middle + _SECOND]).tolist()
    features = {reason["feature"] for reason in alarm["reasons"]}
    numbers = alarm["blamed"] if alarm["many"] > 1 else [alarm["id"]]
    blamed = [one.own[int(number, 16)] for number in numbers]
    if "newcomers" in features:
        blamed = [own for own in one.own.values() if own.odd["distrust"].any()]
    mine, odd = np.zeros((2, len(time)), bool)
    for own in blamed:
        mine[own.at] = True
        odd[own.at] = np.any([own.at < 0, *(own.odd[f] for f in features & own.odd.keys())], 0)
    at = begin + np.flatnonzero(mine[begin:end])
    used = max(int(one.frames.bytes_used[at].max(initial=1)), 1)
    who = _templates(pages=False).get_template("said.txt").module.who(alarm)
    name = f"{len(blamed):,} IDs" if len(blamed) > 1 else who
    data, shown = one.frames.data[at, :used], mine[begin:end]
    return figures.second(time[begin:end], shown, data, odd[at], alarm["period_ms"], name)


def png(axes: Any) -> Any:
    """The figure of matplotlib Axes as an image within the page."""
    import matplotlib.pyplot as plt
    from markupsafe import Markup

    from cangraph.figures import described

    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", bbox_inches="tight")
    plt.close(axes.figure)
    image = Markup('<img alt="{}" src="data:image/png;base64,{}">')
    return image.format(described(axes.figure), base64.b64encode(buffer.getvalue()).decode())
