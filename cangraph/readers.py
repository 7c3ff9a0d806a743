"""Capture files in, `Frames` out: one door for every supported log format."""

import gzip
import lzma
import zlib
from pathlib import Path

import numba
import numpy as np

from cangraph.frames import Frames, attack_code

__all__ = ["read_frames"]

_SUFFIXES = (".csv", ".txt", ".parquet")
_PACKED = (".gz", ".zst", ".xz")

# What each line of a file looks like:
#   table   1513920254.785861,4B1,7953E58200000033,0      (can-train-and-test, header line first)
#   hcrl    1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R
#   spaced  Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2
_TABLE, _HCRL, _SPACED = 0, 1, 2

_COLUMNS = ("timestamp", "arbitration_id", "data_field", "attack")

_EXPECTED = {
    1: "too few fields; expected a whole row",
    2: "a timestamp that is no number of seconds; expected digits such as 1513920254.785861",
    3: "an arbitration ID that is not hexadecimal or over 29 bit; expected such as 1A0",
    4: "a payload that is not hexadecimal or over 8 bytes; expected such as 00FF or 00,ff",
    5: "a label that is not known; expected 0 or 1, or R or T",
    6: "a DLC that does not fit the row; expected 0 to 8 and as many bytes",
}


def read_frames(path: str | Path, *, attack_type: str = "other", **where: str) -> Frames:
    """Read a CAN log into `Frames`, sorted by time.

    Known layouts: can-train-and-test CSV (`timestamp,arbitration_id,data_field[,attack]`) and
    the original HCRL files (comma separated with a flag that moves with the DLC, or
    `Timestamp: … ID: … DLC: …` lines), each plain or packed as .gz, .zst or .xz, and Parquet with
    the columns of the first (IDs and payloads as hexadecimal text). Rows that
    carry an attack label get `attack_type`; `where` names the capture (see `Frames.label`).

    Raises `FileNotFoundError`, and `ValueError` that names file, line and remedy for an empty
    file, an unknown layout and the first row that cannot be read: no row is ever skipped.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bus.csv")
    >>> _ = path.write_text("timestamp,arbitration_id,data_field,attack\\n0.5,1A0,00FF,1\\n")
    >>> read_frames(path, attack_type="fuzzing")
    Frames('bus': 1 frames, 1 IDs, 0.0 s, 1 attack frames)
    """
    path = Path(path)
    raw = _unpack(path)
    if not raw.strip(b"\xef\xbb\xbf, \t\r\n"):
        raise ValueError(f"{path}: the file is empty; expected CAN frames; download it again")
    body = 3 if raw.startswith(b"\xef\xbb\xbf") else 0  # a spreadsheet's byte order mark
    first = raw[body : body + 500].splitlines()[0].decode("ascii", "replace").strip().strip(",")
    layout, order, skip = _layout(path, first)
    if skip:
        newline = raw.find(b"\n", body)
        body = len(raw) if newline < 0 else newline + 1
    buffer = np.frombuffer(raw, np.uint8)
    n_lines = int(np.count_nonzero(buffer[body:] == 10)) + 1
    columns = _columns(n_lines)
    n, error, line, begin = _parse(buffer, body, layout, order, *columns.values())
    if error:
        end = raw.find(b"\n", begin)
        came = raw[begin : end if end >= 0 else len(raw)][:80].decode("ascii", "replace").strip()
        raise ValueError(
            f"{path}:{line + skip}: {came!r} has {_EXPECTED[error]}; mend or delete the line"
        )
    if n == 0:
        raise ValueError(f"{path}: a header and no rows; expected CAN frames; download it again")
    columns = {key: values[:n] for key, values in columns.items()}
    labels = np.where(columns["attack"], attack_code(attack_type), 0).astype(np.uint8)
    name = path.name.split(".")[0]
    return Frames.in_order(**columns, attack_type=labels, **({"name": name} | where))


def _columns(n: int) -> dict[str, np.ndarray]:
    return {
        "timestamp": np.zeros(n, np.float64),
        "arbitration_id": np.zeros(n, np.uint32),
        "dlc": np.zeros(n, np.uint8),
        "data": np.zeros((n, 8), np.uint8),
        "is_remote_frame": np.zeros(n, np.bool_),
        "attack": np.zeros(n, np.bool_),
    }


def _unpack(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such file; expected a CAN log; check the path"
        )
    plain = path.with_suffix("") if path.suffix in _PACKED else path
    if plain.suffix.lower() not in _SUFFIXES:
        raise ValueError(
            f"{path}: the ending is not known; expected {' or '.join(_SUFFIXES)}, "
            f"plain or with {', '.join(_PACKED)}; convert the log with python-can's can_logconvert"
        )
    raw = path.read_bytes()
    try:
        if path.suffix.lower() == ".parquet":
            import polars as pl

            return pl.read_parquet(raw).write_csv().encode()
        if path.suffix == ".gz":
            return gzip.decompress(raw)
        if path.suffix == ".xz":
            return lzma.decompress(raw)
        if path.suffix == ".zst":
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(raw) as stream:
                return stream.read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise ValueError(f"{path}: cannot be unpacked ({error}); download it again") from error
    except Exception as error:  # ZstdError, PolarsError: not imported for plain files
        if type(error).__module__.split(".")[0] not in ("zstd", "zstandard", "polars"):
            raise
        raise ValueError(f"{path}: cannot be unpacked ({error}); download it again") from error
    return raw


def _layout(path: Path, first: str) -> tuple[int, np.ndarray, int]:
    """(layout, field number of each of `_COLUMNS` or -1, header lines) from a file's first line."""
    names = [name.strip().lower() for name in first.split(",")]
    if set(_COLUMNS[:3]) <= set(names) <= set(_COLUMNS) and len(names) == len(set(names)):
        order = [names.index(column) if column in names else -1 for column in _COLUMNS]
        return _TABLE, np.array(order, np.int64), 1
    none = np.full(4, -1, np.int64)
    if first.startswith("Timestamp:"):
        return _SPACED, none, 0
    if len(names) >= 3 and names[0].replace(".", "", 1).isdigit():
        return _HCRL, none, 0
    raise ValueError(
        f"{path}:1: the columns {first[:80]!r} are not known; expected "
        f"{','.join(_COLUMNS)} or HCRL rows such as 1478198376.389427,0316,8,05,…,R; rename them"
    )


@numba.njit(cache=True, nogil=True)
def _digit(byte):
    """Value of a hexadecimal digit, or -1."""
    if 48 <= byte <= 57:
        return np.int64(byte) - 48
    byte |= 32  # lower case
    if 97 <= byte <= 102:
        return np.int64(byte) - 87
    return np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _hexadecimal(buffer, begin, end):
    """Value of 1 to 8 hexadecimal digits, or -1."""
    if not 1 <= end - begin <= 8:
        return np.int64(-1)
    value = np.int64(0)
    for i in range(begin, end):
        digit = _digit(buffer[i])
        if digit < 0:
            return np.int64(-1)
        value = value * 16 + digit
    return value


@numba.njit(cache=True, nogil=True)
def _seconds(buffer, begin, end):
    """Value of decimal digits with at most one point, or -1.

    The digits are gathered as one integer and divided once: up to 2⁵³ the result is the nearest
    float64, the same as Python's `float`.
    """
    value, scale, digits, point = np.int64(0), np.int64(1), 0, False
    for i in range(begin, end):
        byte = buffer[i]
        if byte == 46 and not point:
            point = True
        elif 48 <= byte <= 57:
            digits += 1
            if digits <= 18:
                value = value * 10 + np.int64(byte - 48)
                if point:
                    scale *= 10
            elif not point:
                return -1.0
        else:
            return -1.0
    return value / scale if digits else -1.0


@numba.njit(cache=True, nogil=True)
def _parse(buffer, body, layout, order, timestamp, arbitration_id, dlc, data, remote, attack):
    """Fill the columns from text. Returns (rows, error, its line from 1, its first byte)."""
    n, line, i, size = 0, 0, body, len(buffer)
    begins, ends = np.zeros(20, np.int64), np.zeros(20, np.int64)
    while i < size:
        line += 1
        start, k = i, 0  # k fields in this line
        separator, field, blank = 44, i, True
        while True:
            byte = buffer[i] if i < size else 10
            at_end = byte == 10
            space = byte == 32 or byte == 9 or byte == 13
            cut = at_end or byte == separator or (layout == _SPACED and space)
            if cut:
                left, right = field, i
                while left < right and buffer[left] <= 32:
                    left += 1
                while right > left and buffer[right - 1] <= 32:
                    right -= 1
                if (left < right or layout != _SPACED) and k < 20:
                    begins[k], ends[k] = left, right
                    k += 1
                blank = blank and left == right
                field = i + 1
            i += 1
            if at_end:
                break
        if blank:
            continue
        flag, first_byte = -1, -1
        if layout == _TABLE:
            last = max(order[0], order[1], order[2], order[3])
            if k <= last:
                return n, 1, line, start
            f_time, f_id, f_data, flag = order[0], order[1], order[2], order[3]
            begin, end = begins[f_data], ends[f_data]
            used = (end - begin) // 2
            if (end - begin) % 2 or used > 8:
                return n, 4, line, start
            dlc[n] = used
            for j in range(used):
                high, low = _digit(buffer[begin + 2 * j]), _digit(buffer[begin + 2 * j + 1])
                if high < 0 or low < 0:
                    return n, 4, line, start
                data[n, j] = high * 16 + low
        else:
            while k and begins[k - 1] == ends[k - 1]:  # commas that a spreadsheet padded with
                k -= 1
            f_time, f_id, f_dlc, first_byte = 0, 1, 2, 3
            if layout == _SPACED:
                f_time, f_id, f_dlc, first_byte = 1, 3, 6, 7
            if k <= f_dlc:
                return n, 1, line, start
            length = _hexadecimal(buffer, begins[f_dlc], ends[f_dlc])
            if not 0 <= length <= 8:
                return n, 6, line, start
            rest = k - first_byte
            tail = 0  # is there a flag behind the payload?
            if rest and ends[k - 1] - begins[k - 1] == 1:
                tail = 1
            if layout == _SPACED:
                tail = 0
                remote[n] = buffer[begins[4]] == 49  # "100" stands for a remote frame
            if tail:
                flag = k - 1
            if rest - tail == 0 and length:
                remote[n] = True  # a remote frame asks for `dlc` bytes and carries none
                if not tail and layout == _HCRL:
                    return n, 1, line, start
            elif not length <= rest - tail <= 8:
                return n, 6, line, start
            dlc[n] = length
            for j in range(rest - tail):
                value = _hexadecimal(buffer, begins[first_byte + j], ends[first_byte + j])
                if not 0 <= value <= 255:
                    return n, 4, line, start
                if j < length:
                    data[n, j] = value
                # bytes past the DLC pad some HCRL rows to 8; they were never on the bus
        timestamp[n] = _seconds(buffer, begins[f_time], ends[f_time])
        if timestamp[n] < 0:
            return n, 2, line, start
        identifier = _hexadecimal(buffer, begins[f_id], ends[f_id])
        if not 0 <= identifier <= 0x1FFFFFFF:
            return n, 3, line, start
        arbitration_id[n] = identifier
        if flag >= 0:
            mark = buffer[begins[flag]] if ends[flag] - begins[flag] == 1 else 0
            if mark == 49 or mark == 84:  # 1, T
                attack[n] = True
            elif mark != 48 and mark != 82:  # 0, R
                return n, 5, line, start
        n += 1
    return n, 0, 0, 0
