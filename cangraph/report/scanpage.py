"""`cangraph scan`: the command, and what `scan` found as text and as a page."""

import base64
import io
import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported, Status
from cangraph.features.baseline import Baseline
from cangraph.files import printable, put
from cangraph.io.intervals import BESIDE
from cangraph.io.names import Names
from cangraph.io.readers import read_frames
from cangraph.report.pages import shell
from cangraph.report.scan import Scan, scan, unreadable

SHOWN = 8  # alarms with a picture, rows on the first screen
_SECOND = 0.5  # s of a picture on either side of the frame


def run_scan(words: Sequence[str]) -> int:
    """Run `cangraph scan`; returns its exit status. Raises `ValueError` and `OSError` where the
    detector or the DBC cannot be read."""
    about = "Say whether logs look under attack, when, which ID, and why. Exit status: 0 nothing "
    about += "was found, 1 an alarm, 2 a log that cannot be read, 3 one that was not judged."
    parser = ArgumentParser("cangraph scan", description=about)
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="of any format it reads")
    parser.add_argument("--detector", type=Path, help="an ONNX file of cangraph; else its own")
    clean = "clean traffic of the same vehicle, to know what is normal there (repeated)"
    parser.add_argument("--baseline", type=Path, action="append", metavar="LOG", help=clean)
    parser.add_argument("--html", type=Path, metavar="OUT", help="write a page, too")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    attacks = "compare the alarms with the attacks that the log itself names, or ROAD's "
    attacks += f"{BESIDE} beside it"
    parser.add_argument("--labels", action="store_true", help=attacks)
    parser.add_argument("--dbc", type=Path, help="names of messages and signals (needs cantools)")
    table = parser.add_argument_group("a table that is not known")
    column = "timestamp=t, arbitration_id=addr, data=b0,b1,… (repeated)"
    table.add_argument("--column", action="append", default=[], metavar="NAME=HEADING", help=column)
    table.add_argument("--time-unit", choices=["s", "ms", "us", "ns"], help="of its times")
    table.add_argument("--base", type=int, choices=[10, 16], help="of its IDs")
    given = parser.parse_args(words)
    columns = dict(map(_named_column, given.column)) or None
    reading = {"columns": columns, "time_unit": given.time_unit, "base": given.base}
    names = Names(given.dbc) if given.dbc else None
    detector = Exported(given.detector or boxed())
    if given.baseline:
        before = [read_frames(log, strict=False, **reading) for log in given.baseline]
        detector.baseline = Baseline.learn(before)
    scans = []
    for log in given.logs:
        beside = log.with_name(BESIDE)
        labels = beside if given.labels and beside.is_file() else given.labels
        try:
            found = scan(log, detector, names, labels, Console(stderr=True), **reading)
        except (ValueError, OSError) as error:
            found = unreadable(log, error, detector)
        scans.append(found)
        if not given.json:
            print(told(found), flush=True)
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


def _clean(text: Any) -> str:
    """What comes from a file, without what a terminal would obey; markup as it is."""
    if hasattr(text, "__html__"):
        return text
    return printable(text)


# what is said, in text and on the page


def read_lines(found: Scan) -> list[str]:
    """What was read, and what of it could not be judged."""
    facts = found.facts
    if "read" not in facts:
        return [facts["why"]]
    read = facts["read"]
    names = ", ".join(filter(None, read["buses"]))
    buses = f" on {len(read['buses'])} buses ({names})" if len(read["buses"]) > 1 else ""
    buses = f" on bus {names}" if names and not buses else buses
    began = f", from {read['begins']}" if read["begins"] else ""
    lines = [f"{read['frames']:,} frames of {read['ids']:,} IDs{buses}"]
    lines[0] += f" in {read['seconds']:,.1f} s{began}"
    if read.get("dialect"):
        lines.append(f"read as {read['dialect']}")
    lines += read.get("notes", ())
    counted = {"refused": "rows refused", "error_frames": "error frames", "others": "other rows"}
    counted |= {"reordered": "steps back in time sorted", "padded": "payloads cut to their length"}
    lines += [f"{read[key]:,} {text}" for key, text in counted.items() if read.get(key)]
    lines += read["first_refused"][:3]
    for bus in facts["buses"]:
        lines += [f"{_at(bus['bus'])}not judged: {text}" for text in bus["not_judged"]]
        if labels := bus.get("labels"):
            lines.append(
                f"{_at(bus['bus'])}by the labels of the log {labels['found']} of "
                f"{labels['events']} attacks raise an alarm, and {labels['false_alarms']} of "
                f"{labels['alarms']} alarms are false"
            )
    return lines


def _at(bus: str) -> str:
    return f"{bus}: " if bus else ""


def who(alarm: dict[str, Any]) -> str:
    """The ID that an alarm is about, with its bus, its name and its part in diagnosis."""
    number = f"{_at(alarm['bus'])}0x{alarm['id']}"
    if alarm["many"] > 3 and alarm["reasons"]:
        return f"{_at(alarm['bus'])}{alarm['many']:,} IDs, such as 0x{alarm['id']}"
    part = f"(diagnostic {alarm['part']})" if alarm["part"] else ""
    return " ".join(filter(None, [number, alarm["message"], part]))


def lasted(alarm: dict[str, Any]) -> str:
    seconds = f"{alarm['end'] - alarm['begin']:,.1f} s"
    return f"{seconds}, to the end" if alarm["ongoing"] else seconds


def how_sure(alarm: dict[str, Any]) -> str:
    windows = f"{alarm['called']} of {alarm['windows']} windows"
    return f"{alarm['sure']}: {windows}, up to {alarm['peak']:.3f}"


def reason_lines(alarm: dict[str, Any]) -> list[str]:
    """Why, a sentence for each reason."""
    lines = []
    for reason in alarm["reasons"]:
        elsewhere = reason["elsewhere"]
        rare = f"; elsewhere in {100 * elsewhere:.2g} % of its frames" if elsewhere else ""
        rare = "; never elsewhere" if elsewhere == 0 else rare
        lines.append(f"{reason['time']:,.3f} s: {reason['says']}{rare}")
    tester = alarm["part"] == "tester"
    said = [
        (alarm["most"], "it lasts for most of the log, as on a vehicle of an unknown kind"),
        (not alarm["reasons"], "no frame of this ID is odd by itself: it may well be false"),
        (tester, "a diagnostic tester sends this ID, and one at work looks like this"),
    ]
    return lines + [f"{alarm['begin']:,.3f} s: {text}" for holds, text in said if holds]


def talk_lines(found: Scan) -> list[str]:
    """The diagnostic conversations."""
    lines = []
    for row in found.facts["diagnostics"]:
        services = ", ".join(f"{name} ×{times:,}" for name, times in row["services"].items())
        sessions = f"; sessions: {', '.join(row['sessions'])}" if row["sessions"] else ""
        refused = f"; {row['refused']:,} refused" if row["refused"] else ""
        grave = "; this can change an ECU" if row["grave"] else ""
        what = f"{_at(row['bus'])}{row['id']} ({row['part']}), {row['frames']:,} frames"
        lines.append(f"{what}: {services}{sessions}{refused}{grave}")
    return lines


def ranked(found: Scan) -> list[dict[str, Any]]:
    """The alarms that are shown, the surest and highest of them, in order of time."""
    order = ("high", "medium", "low")
    first = sorted(found.facts["alarms"], key=lambda a: (order.index(a["sure"]), -a["peak"]))
    return sorted(first[:SHOWN], key=lambda alarm: alarm["begin"])


def alarm_rows(found: Scan) -> list[dict[str, str]]:
    """The alarms that are shown as rows of a table."""
    return [
        {"at": f"{alarm['begin']:,.2f} s", "for": lasted(alarm)}
        | {"ID": who(alarm), "attack": alarm["kind"] or "not known"}
        | {"sure": alarm["sure"], "because": reason_lines(alarm)[0].partition(" s: ")[2]}
        for alarm in ranked(found)
    ]


def told(found: Scan) -> str:
    """A scan as text, without what a terminal would obey."""
    facts, shown = found.facts, ranked(found)
    lines = [f"{facts['log']} {facts['verdict']}"]
    lines += [f"  {line}" for line in read_lines(found)]
    for alarm in shown:
        kind = alarm["kind"] or "of no known kind"
        what = f"{who(alarm)}, {kind}, for {lasted(alarm)}"
        lines.append(f"  ALARM at {alarm['begin']:,.2f} s: {what} ({how_sure(alarm)})")
        lines += [f"      {line}" for line in reason_lines(alarm)]
        if frame := alarm["frame"]:
            before, after = frame["before"].split(), frame["after"].split()
            marked = [f"[{b}]" if j in frame["changed"] else f" {b} " for j, b in enumerate(after)]
            lines.append(f"      before  {''.join(f' {b} ' for b in before) or ' none'}")
            lines.append(f"      then    {''.join(marked)}  at {frame['time']:,.6f} s")
            lines += [f"      {n}: {a} → {b}" for n, (a, b) in frame.get("signals", {}).items()]
    if more := len(facts["alarms"]) - len(shown):
        lines.append(f"  and {more:,} more alarms (--json has all)")
    lines += [f"  diagnosis: {line}" for line in talk_lines(found)]
    return "\n".join(_clean(line) for line in lines)


# the page


def page(scans: Sequence[Scan]) -> str:
    """Scans as one page that needs nothing else: the verdict on one screen, then each alarm. Logs
    that raise one come first."""
    import jinja2

    from cangraph import figures

    template = jinja2.Environment(
        loader=jinja2.PackageLoader("cangraph.report", ""),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=_clean,
        trim_blocks=True,
    ).get_template("scan.html")
    parts = (read_lines, ranked, alarm_rows, who, lasted, how_sure, reason_lines, talk_lines)
    drawn = (timeline, picture, png)
    made = {part.__name__: part for part in (*parts, *drawn, Path)}
    pictures = max(SHOWN // len(scans), 1)  # of a log
    scans = sorted(scans, key=lambda found: not found.facts["alarms"])
    with _drawing():
        figures.use_style()
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
    began = one.since
    of = f"{len(value):,} windows of {found.detector.window} frames"
    title = f"{_at(bus)}{len(alarms)} alarms in {of}"
    return figures.watched(
        start + began, end + began, value, spans, found.detector.threshold, title=title
    )


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
    name = f"{len(blamed):,} IDs" if len(blamed) > 1 else _clean(who(alarm))
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
