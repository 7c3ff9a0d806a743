"""What the tests of readers share: small logs, packages, and chunks put together again."""

import bz2
import gzip
import io
import lzma
import sqlite3
import zipfile
from contextlib import closing

import numpy as np
import zstandard

from cangraph.deploy.recent import Heard, odd_of
from cangraph.features.profile import profile
from cangraph.frames import Frames, ReadReport

HEADER = "timestamp,arbitration_id,data_field,attack\n"
TABLE = HEADER + "0.5,1A0,00FF,1\n1.25,7ff,,0\n1.5,1C3E5A7,0102030405060708,0\n"
HCRL = (
    "1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R\n"
    "1478198376.389636,018f,2,fe,5b,T\n"
    "1478198376.389864,0260,0,R\n"
)
SPACED = (
    "Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2\n"
    "Timestamp: 1479121434.850423        ID: 02c0    000    DLC: 2    14 ff\n"
    "Timestamp: 1479121434.850977        ID: 0430    100    DLC: 8\n"
)
CANDUMP = "(1.500000) can0 1A0#00FF\n(1.600000) can0 000001A0#R4\n(1.700000) can0 20000080#00\n"


def zipped(raw):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("bus.csv", raw)
    return package.getvalue()


PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zip": zipped,
    ".zst": lambda raw: zstandard.ZstdCompressor().compress(raw),
    ".xz": lzma.compress,
}


def rows_of(frames):
    """Each frame as candump writes it, `ID#payload` or `ID#R` and the DLC; x is behind a 29-bit ID,
    T behind an attack."""
    rows = []
    for i, identifier in enumerate(frames.arbitration_id):
        dlc, wide = frames.dlc[i], "x" if frames.is_extended_id[i] else ""
        payload = f"R{dlc}" if frames.is_remote_frame[i] else bytes(frames.data[i, :dlc]).hex()
        rows.append(f"{identifier:x}{wide}#{payload}{' T' if frames.attack[i] else ''}")
    return rows


def same(one, two):
    return one.sha256() == two.sha256()


def joined(chunks):
    """The frames of all chunks, and the sum of their reports."""
    width = max(c.data.shape[1] for c in chunks)
    pad = [np.pad(c.data, ((0, 0), (0, width - c.data.shape[1]))) for c in chunks]
    columns = ("timestamp", "arbitration_id", "dlc", "is_extended_id", "is_remote_frame",
               "attack", "attack_type")  # fmt: skip
    whole = {column: np.concatenate([getattr(c, column) for c in chunks]) for column in columns}
    *counts, first, others, dialects, notes = zip(*(c.report for c in chunks), strict=True)
    counts, (first, notes) = map(sum, counts), (sum(part, ()) for part in (first, notes))
    report = ReadReport(*counts, first, sum(others), "".join(dialects), notes)
    return Frames(**whole, data=np.concatenate(pad)), report


def database(path, rows):
    """A log as python-can's SQLite: rows of time, ID, extended, remote, error, DLC and bytes."""
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE messages (ts, id, extended, remote, error, dlc, data)")
        base.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        base.commit()


def heard_in(frames):
    """What is told of a log by itself, as of a bus that was heard from its first frame on."""
    time = frames.timestamp - frames.timestamp[0]
    return Heard(frames, odd_of(profile(frames).features), time, {})
