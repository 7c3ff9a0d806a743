"""Broken logs for `read_frames`: each must be read, or refused in one line that names the file.

    python benchmarks/fuzz_readers.py [--files 10000] [--seed 0]

Mutates a small log of every format and every dialect of tests/dialects (cut, flipped bits, lines
swapped, doubled or dropped, fields made huge, negative, empty, NaN or text), reads each strictly
and leniently, whole and in chunks, within a time limit, and prints what came of it by file. The
chunks must be the whole, or refused with it, or steps back in time too far for them; every line
must be counted, and the ID and payload of every frame must stand in one line. The last line is one
JSON object.
"""

import argparse
import base64
import gzip
import json
import lzma
import re
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import can
import numpy as np
import zstandard

from cangraph.bus.simulator import simulate
from cangraph.frames import Frames
from cangraph.io.readers import LogFile, read_frames
from cangraph.io.writers import write_frames

STRAY = "whose neighbours are far"  # which strict reading sorts
LIMIT = 10.0  # s for one file; the largest has 150 frames
_HEADER = 14  # lines of a header, at most, that are no rows
COLUMNS = ("timestamp", "arbitration_id", "dlc", "is_extended_id", "is_remote_frame", "attack")
_FIELDS = (
    b"nan", b"inf", b"-inf", b"-1", b"-0.5", b"1e308", b"9" * 30, b"99999999999999", b"", b"x",
    b"0x1A0", b"20000000", b"FFFFFFFF", b"\xff\xfe", b"\0", b"1_0", b"+5", b"R", b"#",
)  # fmt: skip


PACK = {
    ".gz": gzip.compress,
    ".zst": lambda raw: zstandard.ZstdCompressor().compress(raw),
    ".xz": lzma.compress,
}


DIALECTS = Path(__file__).parents[1] / "tests/dialects"
_TEXTS = (".csv", ".txt", ".log", ".asc", ".trc", ".LOG", ".candump")


def lines_of(content: bytes) -> list[str]:
    """The lines of a text log that are more than separators and blanks."""
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16", "replace") if marked else content.decode("latin-1")
    return [line for line in re.split("\r?\n" if "\n" in text else "\r", text)
            if line.strip(" ,;\t\0\r\"\ufeff\xef\xbb\xbf")]  # fmt: skip


def standing(frames: Frames, content: bytes) -> str:
    """The first frame whose ID and payload stand in no line, or ""."""
    lines = {line.lower() for line in lines_of(content)}
    packed = [re.sub(r"0x|[^0-9a-f]", "", line) for line in lines]
    listed = [re.sub(r"\D+0*(?=\d)", " ", f" {line} ") for line in lines]
    plain = [line.replace(" ", "") for line in lines]
    for i, used in enumerate(frames.bytes_used):
        data, name = bytes(frames.data[i, :used]), int(frames.arbitration_id[i])
        spelled = (data.hex(), " ".join(map(str, data)), base64.b64encode(data).decode().lower())
        loose = "".join(f"{byte:x}" for byte in data)
        if not any(
            (f"{name:x}" in line or str(name) in line)
            and (
                spelled[0] in hexadecimal
                or loose in hexadecimal
                or spelled[1] in decimal
                or spelled[2] in bare
            )
            for line, hexadecimal, decimal, bare in zip(lines, packed, listed, plain, strict=True)
        ):
            return f"{name:x}#{data.hex()}"
    return ""


class TooSlowError(BaseException):
    """Raised by the clock; no `except Exception` on the way may catch it."""


def sources(folder: Path) -> dict[str, bytes]:
    """A small intact log of each format, by the ending it is read under."""
    frames = simulate("aster", 0.2, seed=1)[:150]
    made = {}
    for ending in (".csv", ".parquet"):
        write_frames(frames, folder / f"whole{ending}")
        made[ending] = (folder / f"whole{ending}").read_bytes()
    made |= {f".csv{ending}": pack(made[".csv"]) for ending, pack in PACK.items()}
    messages = [
        can.Message(
            timestamp=1.5e9 + i / 100,
            arbitration_id=0x1A0 + i,
            is_extended_id=i % 3 == 0,
            is_remote_frame=i % 10 == 4,
            is_error_frame=i % 10 == 5,
            is_fd=i % 10 == 6,
            data=bytes(range(64 if i % 10 == 6 else i % 9)),
        )
        for i in range(150)
    ]
    writers = {".log": can.CanutilsLogWriter, ".asc": can.ASCWriter, ".blf": can.BLFWriter}
    for ending, writer in (writers | {".trc": can.TRCWriter, ".can.csv": can.CSVWriter}).items():
        with writer(folder / f"whole{ending}") as log:
            for m in messages:
                if ending != ".trc" or not (m.is_remote_frame or m.is_error_frame or m.is_fd):
                    log.on_message_received(m)
        made[ending] = (folder / f"whole{ending}").read_bytes()
    made[".log.gz"] = gzip.compress(made[".log"])
    with sqlite3.connect(folder / "whole.db") as base:
        base.execute(
            "CREATE TABLE messages (ts, arbitration_id, extended, remote, error, dlc, data)"
        )
        for m in messages:
            row = (m.timestamp, m.arbitration_id, m.is_extended_id, m.is_remote_frame)
            row += (m.is_error_frame, m.dlc, bytes(m.data))
            base.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    base.close()
    made[".db"] = (folder / "whole.db").read_bytes()
    rows = [(t, i, row.tobytes()) for t, i, row in
            zip(frames.timestamp, frames.arbitration_id, frames.data, strict=True)]  # fmt: skip
    hcrl = [f"{t:.6f},{i:04x},8,{row.hex(',')},R\n" for t, i, row in rows]
    spaced = [f"Timestamp: {t:.6f}        ID: {i:04x}    000    DLC: 8    {row.hex(' ')}\n"
              for t, i, row in rows]  # fmt: skip
    blanks = [f"{t:.6f},{i:04x},8,{row.hex(' ')}\n" for t, i, row in rows]
    texts = {".hcrl.csv": hcrl, ".txt": spaced, ".blanks.txt": blanks}
    made |= {name: "".join(lines).encode() for name, lines in texts.items()}
    for path in sorted(DIALECTS.iterdir()):
        if path.suffix != ".json" and path.name not in ("clock_jump.log", "cut_line.log"):
            made[f"_{path.name}"] = path.read_bytes()
    return made


def mutate(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to three faults in a log."""
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(raw) + 1))
        lines = raw.split(b"\n")
        line = int(rng.integers(len(lines)))
        match rng.integers(7):
            case 0:
                raw = raw[:at]
            case 1:
                flipped = bytearray(raw)
                for place in rng.integers(0, len(raw), rng.integers(1, 6)) if raw else ():
                    flipped[place] ^= 1 << rng.integers(8)
                raw = bytes(flipped)
            case 2:
                rng.shuffle(lines)
                raw = b"\n".join(lines)
            case 3:
                raw = b"\n".join(lines[:line] + [lines[line]] * int(rng.integers(4)) + lines[line:])
            case 4:
                raw = b"\n".join(lines[:line] + lines[line + 1 :])
            case 5:
                raw = raw[:at] + raw[at + int(rng.integers(1, 40)) :]
            case _:
                fields = list(re.finditer(rb"[\w.]+", raw))
                if fields:
                    field = fields[int(rng.integers(len(fields)))]
                    wild = _FIELDS[int(rng.integers(len(_FIELDS)))]
                    raw = raw[: field.start()] + wild + raw[field.end() :]
    return raw


def attempt(path: Path, read: Callable) -> tuple[str, Frames | list[Frames] | str]:
    """What a call comes to: "read" and its result, "refused" and why; or what must not be."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        return "read", read()
    except ValueError as error:
        proper = str(error).startswith(str(path)) and "\n" not in str(error)
        return "refused" if proper else "WRONG MESSAGE", str(error)
    except TooSlowError:
        return "TOO SLOW", ""
    except Exception as error:
        return "WRONG ERROR", repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def whole(chunks: list[Frames], frames: Frames) -> bool:
    """Whether the chunks in a row are the frames, and their reports add up."""
    width = frames.data.shape[1]
    data = [np.pad(c.data, ((0, 0), (0, width - c.data.shape[1]))) for c in chunks]
    same = np.array_equal(np.concatenate(data), frames.data)
    for column in COLUMNS:
        joined = np.concatenate([getattr(c, column) for c in chunks])
        same = same and np.array_equal(joined, getattr(frames, column))
    counts = np.sum([(*c.report[:5], c.report.others) for c in chunks], axis=0)
    same = same and tuple(counts) == (*frames.report[:5], frames.report.others)
    named = {message for c in chunks for message in c.report.first_refused}
    return same and named == {*frames.report.first_refused}


def outcome(path: Path, strict: bool) -> tuple[str, Frames | str]:
    """What reading a file comes to: "read", "partly" read, "refused"; or what must not be."""
    came, frames = attempt(path, lambda: read_frames(path, strict=strict))
    chunks_came, chunks = attempt(path, lambda: [*LogFile(path, strict=strict).chunks(7)])
    if came.isupper() or chunks_came.isupper():
        return (came, frames) if came.isupper() else (f"CHUNKS {chunks_came}", chunks)
    if came == "refused":  # of a damaged package more chunks than blocks may be whole
        fine = chunks_came == "refused" or (not strict and "cannot be unpacked" in frames)
        return (came if fine else "CHUNKS READ"), frames
    report = frames.report
    if chunks_came == "refused":
        if "expected steps back in time of at most" not in chunks:
            return "CHUNKS REFUSED", chunks
    elif not whole(chunks, frames):
        return "OTHER CHUNKS", str([c.report for c in chunks])
    counted = len(frames) + report.error_frames + report.refused + report.others
    if report.rows != counted or not len(frames):
        return "ROWS LOST", str(report)
    if bool(report.refused) != bool(report.first_refused) or (strict and report.refused):
        return "WRONG REPORT", str(report)
    return "partly" if report.refused else "read", frames


def fuzz(files: int, seed: int, folder: Path, tell: Callable = print) -> dict[str, Counter]:
    """Outcomes by format of `files` mutated logs; those in capitals are faults of the reader,
    and `tell` is called with each."""

    def ring(*_):
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, ring)
    rng = np.random.default_rng(seed)
    whole = sources(folder)
    read_frames(folder / "whole.csv")  # compiles, which the clock would count
    counts = {ending: Counter() for ending in whole}
    for ending, raw in whole.items():
        (folder / f"bus{ending}").write_bytes(raw)
        intact = outcome(folder / f"bus{ending}", strict=True)[0]
        assert intact == "read" or ending.startswith("_"), (ending, intact)
    try:
        for i in range(files):
            ending = list(whole)[i % len(whole)]
            path = folder / f"bus{ending}"
            inner, packed = Path(ending).stem or ending, Path(ending).suffix
            if packed in PACK and i // len(whole) % 2:  # faults inside an intact package
                content = mutate(whole[inner], rng)
                path.write_bytes(PACK[packed](content))
            else:
                content = mutate(whole[ending], rng)
                path.write_bytes(content)
                inner = ending
            strict, came = outcome(path, strict=True)
            lenient, left = outcome(path, strict=False)
            if strict == lenient == "read" and came.sha256() != left.sha256():
                lenient = "OTHER FRAMES"
            strays = lenient == "partly" and all(STRAY in m for m in left.report.first_refused)
            if strict == "read" and lenient != "read" and not strays:
                lenient = f"STRICT READS, LENIENT {lenient}"
            if lenient in ("read", "partly") and inner.endswith(_TEXTS):
                lines, report = lines_of(content), left.report
                if len(lines) - _HEADER > report.rows:
                    lenient, left = "LINES LOST", f"{len(lines)} lines, {report}"
                elif missing := standing(left, content):
                    lenient, left = "FRAME OF NO ROW", f"{missing}, {report}"
            for mode, result, what in (("strict", strict, came), ("lenient", lenient, left)):
                counts[ending][f"{mode} {result}"] += 1
                if result.isupper() or "STRICT" in result:
                    kept = path.with_name(f"{i}{ending}")
                    kept.write_bytes(path.read_bytes())
                    tell(f"{kept} {mode}: {result}: {what}")
    finally:
        signal.signal(signal.SIGALRM, before)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.perf_counter()
    counts = fuzz(given.files, given.seed, Path(tempfile.mkdtemp(prefix="fuzz-")))
    total = sum(counts.values(), Counter())
    for ending, count in counts.items():
        print(f"{ending:28}", ", ".join(f"{k} {v}" for k, v in sorted(count.items())))
    faults = sum(v for k, v in total.items() if any(word.isupper() for word in k.split()))
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"files": given.files, "faults": faults, "seconds": seconds, **total}))


if __name__ == "__main__":
    main()
