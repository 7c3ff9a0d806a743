"""The dialects of text logs: how each is recognised, and what stands where in its rows.

To add one, add an entry to `DIALECTS` and a file that shows it to `tests/dialects`. A log is read
by the entry that fits most of its first rows; of several the first. The fields of patterns are
those of `rows.FIELDS`.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

MS, US = 1e3, 1e6  # in a second


class Dialect(NamedTuple):
    """One way to write a log. `frames`, `errors` and `others` are patterns of rows that hold a
    frame, an error frame, and neither; or, for a table, `header` matches the names of its columns,
    in lower case without signs, joined by commas."""

    name: str
    example: str  # a row, or the header of a table
    frames: tuple[str, ...] | Callable[[str], tuple[str, ...]] = ()
    errors: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    sign: str = ""  # must be found in the first lines (a regular expression)
    preamble: bool = False  # whatever comes before the first frame is no row
    separator: str = "\0"
    header: str = ""
    fields: dict[str, str] = {}  # of a table: how a column is read, by its role  # noqa: RUF012
    per_second: float | None = 1.0  # unit of its times; None: told from the whole file
    relative: str = ""  # what says that each time counts from the one before
    deltas: bool = False  # or that most times are smaller than the one before
    block: str = ""  # the line at which times may begin anew, with its date
    start: str = ""  # what gives the days since 1899-12-30 at which times begin
    wraps: float = 0.0  # times begin anew after so many units
    lacks: str = ""  # why such a log cannot be read


_SAID_OF_A_LOG = ("//", "date ", "base ", "Begin Trigger", "End Trigger", "Previous log file",
                  "<no >internal events", "keine ")  # fmt: skip
_SAID_OF_A_BUS = ("OverloadFrame", "Statistic", "J1939TP", "Status", "chip status", "Log Trigger")


def _vector(base: str) -> dict:
    """The rows of Vector's .asc with numbers in base 16 (""), or 10 ("010")."""
    row = f"~{{time}} {{bus:digits}} {{id:x{base}}}"
    fd = "~{time} CANFD {bus:digits} {dir} "
    flags = f"{{n}} {{n}} {{nibble}} {{dlc:any}}{{list:{base}}}< {{rest}}>"
    return {
        "frames": (
            f"{row}< {{dir}}> d {{dlc:hex}}{{list:{base}}}< {{rest}}>",
            f"{row}< {{dir}}> r< {{dlc:hex}}>{{set:remote}}< {{rest}}>",
            f"{fd}{{id:x{base}}} {flags}",
            f"{fd}{{id:x{base}}} {{name}} {flags}",
        ),
        "errors": ("~{time} {bus:digits} ErrorFrame< {rest}>", fd + "ErrorFrame< {rest}>"),
        "others": (
            f"{row} TxRq {{rest}}",  # asked for; the frame itself follows as Tx
            *(f"~{{time}} {{bus:digits}} {said}{{rest}}" for said in _SAID_OF_A_BUS),
            "~{time} CANFD{refuse}",
            "~{time} {letters}{rest}",  # of LIN, Ethernet, system variables, the state of the chip
            *(f"{said}{{rest}}" for said in _SAID_OF_A_LOG),
        ),
        "relative": r"timestamps\s+relative",
        "block": r"^Begin Trigger\w*(.*)",
    }


def _peak_2(head: str) -> tuple[str, ...]:
    """The rows of PEAK's .trc 2.x, whose columns a line of its header names."""
    named = re.search(r";\$COLUMNS=([\w,]+)", head)
    columns = named[1].split(",") if named else [*"NOTBIdRLD"]
    fields = {"N": "{n}", "O": "{time}", "B": "{bus}", "I": "{id:over4}", "d": "{dir}",
              "R": "{word}", "l": "{dlc:any}", "L": "{dlc:code}"}  # fmt: skip

    def row(kind: str, data: str) -> str:
        written = [kind if column == "T" else fields.get(column, "{word}") for column in columns]
        return "~" + " ".join(written[:-1]) + data

    data_kinds = [row(kind, "{list}") for kind in ("DT", "FD", "FB", "FE", "FI")]
    return (*data_kinds, row("RR", "{set:remote}"))


def _busmaster(base: str) -> dict:
    row = "{time} {dir} {bus} " + ("{id:010} " if base else "{id} ")
    listed = "{list:010}" if base else "{list}"
    return {
        "frames": (
            row + "s {dlc}{set:standard}" + listed,
            row + "x {dlc}{set:extended}" + listed,
            row + "sr {dlc}{set:standard}{set:remote}",
            row + "xr {dlc}{set:extended}{set:remote}",
        ),
        "errors": ("{time} {dir} {bus} ERR{rest}",),
        "others": ("***{rest}",),
        "relative": r"^\*\*\*RELATIVE MODE",
    }


_CANDUMP = "(~{time}~) {bus} "
_TERMINAL = "(~{time}~) {bus}< {dir} {word} {word}> {id:candump} "
_HCRL = "{time}|{id}|{dlc:any}"
_TRACE = "~{n}) {time} "  # of PEAK
_PRINTED = "Timestamp: {time} ID: {id} "
_KVASER = "{bus} {id}{set:standard} <X {set:extended}>{dlc}{list} "
NO_TIMES = "there are no times in it, and without them nothing can be judged; record it with times"
_SIGNALS = "it holds signals that were decoded, no frames; expected the raw log of the bus"

DIALECTS = (
    Dialect(
        "candump log",
        "(1436509052.249713) vcan0 044#2A366C2BBA",
        frames=(
            _CANDUMP + "{id:candump}#{data}<_{nibble}>< {dir}>",  # _E: a raw DLC of 14
            _CANDUMP + "{id:candump}##{nibble}{data:wide}< {dir}>",
        ),
        errors=(_CANDUMP + "ERROR< {rest}>",),
        others=("#{rest}",),
    ),
    Dialect(
        "candump log with labels (CAN-MIRGU)",
        "(1698232894.364044) can0 164#0008000E 0",
        frames=(_CANDUMP + "{id:candump}#{data} {label:digit}",),
    ),
    Dialect(
        "candump log with blanks in the payload",
        "(1732221905.458230) can0 43E# 00 90 10 8C 72 34 4A 7B",
        frames=(_CANDUMP + "{id:candump}#~{data:spaced}",),
    ),
    Dialect(
        "candump log with remarks",
        "(0.450024) can0 0E094000#001C00000001   body computer wakes up",
        frames=(_CANDUMP + "{id:candump}#{data}< {rest}>",),
    ),
    Dialect(
        "candump log with IDs of any length",
        "(1700000000.1) can0 6#01",
        frames=(_CANDUMP + "{id}#{data}< {dir}>",),
    ),
    Dialect(
        "candump on the terminal",
        " (1700000000.388103)  can0  1A0   [8]  00 11 22 33 44 55 66 77",
        frames=(
            _TERMINAL + "[{dlc:any}]{list}< '{rest}>",
            _TERMINAL + "[{dlc:any}] remote request{set:remote}",
        ),
        errors=(_TERMINAL + "[{dlc:any}]{list} ERRORFRAME",),
        deltas=True,
    ),
    Dialect(
        "candump without times",
        "  can0  1A0   [8]  00 11 22 33 44 55 66 77",
        frames=("~{bus} {id:candump} [{dlc:any}]{list}",),
        lacks=NO_TIMES,
    ),
    Dialect(
        "ID#data without times", "309#40", frames=("<{n} >{id:candump}#{data}",), lacks=NO_TIMES
    ),
    Dialect(
        "Battery-Emulator",
        "(1000.020) TX1 18fef100 [2] 00 01",
        frames=("(~{time}~) {bus} {id} [{dlc}]{list}",),
    ),
    Dialect(
        "HCRL",
        "1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R",
        frames=(_HCRL + "{list:remote}|{label}",),
        separator=",",
        per_second=None,
    ),
    Dialect(
        "HCRL without labels",
        "1478198376.389427,0316,8,05 21 68 09 21 21 00 6f",
        frames=(_HCRL + "{list:cut}",),
        separator=",",
        per_second=None,
    ),
    Dialect(
        "HCRL in decimal",
        "1513468795.000668,688,8,16,0,0,86,0,0,0,0",
        frames=("{time}|{id:10}|{dlc}{list:10}<|{label}>",),
        separator=",",
        per_second=None,
    ),
    Dialect(
        "OTIDS, HCRL attack free",
        "Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2",
        frames=(
            _PRINTED + "0{n} DLC: {dlc}{list:remote}",
            _PRINTED + "1{n} DLC: {dlc}{set:remote}",
        ),
    ),
    Dialect(
        "python-can, printed",
        "Timestamp: 1714055256.000000    ID: 18ff3127    X Rx                DL:  2    12 f3",
        frames=tuple(
            _PRINTED
            + kind
            + "< {dir}>"
            + remote
            + "< F>< BS>< EI> DL<C>: {dlc:any}{list}< Channel: {bus}>"
            for kind in ("S{set:standard}", "X{set:extended}")
            for remote in ("", " R{set:remote}")
        ),
        errors=(_PRINTED + "{word}< {dir}> E {rest}",),
    ),
    Dialect(
        "Vector .asc, decimal",
        "770.592543 7  1282       Rx D 8   0   0   0   0   0 170   0   0",
        sign=r"^base\s+dec",
        **_vector("010"),
    ),
    Dialect("Vector .asc", "   0.100000 1  1A0             Rx   d 2 C2 4A", **_vector("")),
    Dialect(
        "PEAK .trc 1.x",
        "     3)      1298.945 1  Tx    18FEF100 2  00 00",
        frames=tuple(
            _TRACE + where + row
            for where, dash in (
                ("{bus} {dir} {id:over4} - ", ""),
                ("{bus} {dir} {id:over4} ", ""),
                ("{dir} {id:over4} ", ""),
                ("{id:over4} ", ""),
            )
            for row in ("{dlc}{list}", "{dlc} RTR{set:remote}")
        ),
        errors=(
            _TRACE + "< {bus} >Error {rest}",
            _TRACE + "{bus} Error {rest}",
            _TRACE + "{id} {n} ERROR{rest}",
        ),
        others=(
            ";{rest}",
            _TRACE + "Warng {rest}",
            _TRACE + "{bus} Warng {rest}",
            _TRACE + "FFFFFFFF {rest}",
            # packets of J1939, of several frames
            *(_TRACE + f"{{bus}} {{dir}} {{id}} - {over} {{rest}}" for over in ("9", "{n:2}")),
        ),
        sign=r"^;",
        per_second=MS,
        start=r"^;\$STARTTIME=(\d{1,6}\.?\d*)\s*$",
    ),
    Dialect(
        "PEAK .trc 2.x",
        "      1      1059.900 DT     0300 Rx 7  00 00 00 00 04 00 00 ",
        frames=_peak_2,
        errors=("~{n} {time} ER {rest}",),
        others=(";{rest}", *(f"~{{n}} {{time}} {kind} {{rest}}" for kind in ("ST", "EC", "EV"))),
        sign=r"^;\$FILEVERSION=2",
        per_second=MS,
        start=r"^;\$STARTTIME=(\d{1,6}\.?\d*)\s*$",
    ),
    Dialect(
        "CanHacker .trc",
        "07,898 451      6 00 00 00 00 00 00       ",
        frames=("{time:comma} {id} {dlc}{list}< {rest}>",),
        sign=r"^Time\s+ID\s+DLC\s+Data",
        preamble=True,
    ),
    Dialect(
        "time, ID, DLC and bytes between blanks",
        "1597759710.1258929 153 8 20 A1 10 FF 00 FF 50 1F",
        frames=("~{time} {id} {dlc:any}{list}",),
        per_second=None,
    ),
    Dialect(
        "CarBus Analyzer .trc",
        "46,016\t1\t0004\t45A\t8\t5A 04 00 00 00 00 00 00\t00000000\tZ\t",
        frames=("{time:comma} {bus} {word} {id} {dlc}{list}< {rest}>",),
        sign=r"^@ TEXT @",
        preamble=True,
    ),
    Dialect(
        "BUSMASTER .log, decimal",
        "12:23:04:7459 Tx 1 0021 s 8 000 000 000 000 000 000 000 255 ",
        sign=r"^\*\*\*DEC\*\*\*",
        wraps=86400,
        **_busmaster("010"),
    ),
    Dialect(
        "BUSMASTER .log", "11:49:12:9530 Rx 1 0x18FEF100 x 2 01 02 ", wraps=86400, **_busmaster("")
    ),
    Dialect(
        "Microchip CAN BUS Analyzer",
        "166064;RX;0x0000021A;8;0xFE;0x36;0x12;0xFE;0x69;0x05;0x07;0xAD;",
        frames=("{time}|{dir}|{id:size}|{dlc}{list}",),
        separator=";",
        sign=r"CAN BUS Analyzer",
        preamble=True,
        per_second=MS,
    ),
    Dialect(
        "CRTD (OVMS)",
        "166.074000 R29 18FEF100 00 37 ",
        frames=tuple(
            "{time} <{bus:digits}>" + f"{way}{bits} {{id}}{{set:{kind}}}{{list:all}}"
            for way in "RT"
            for bits, kind in ((11, "standard"), (29, "extended"))
        ),
        others=("{time} <{bus:digits}>C{rest}",),
    ),
    Dialect(
        "Kvaser CanKing",
        " 0    00000065         5  01  00  00  00  00                1675.572378 R",
        frames=("~" + _KVASER + "{time} {dir}",),
        errors=("~{bus} {id} ErrorFrame {time} {dir}",),
        others=("Chn {rest}",),
    ),
    Dialect(
        "Kvaser Memorator",
        "   0.130340 1       18FEF100 X             2  AA BB                         2",
        frames=("~{time} " + _KVASER + "{n}",),
        errors=("~{time} {bus} {rest}ErrorFrame< {rest}>",),
        sign=r"Kvaser Memorator Log",
        preamble=True,
    ),
    Dialect(
        "Yacht Devices RAW",
        "21:55:35.425 R 15FD0723 FF C0 D9 6F FF 7F FF FF",
        frames=("{time} {dir} {id:8}{set:extended}{list:all}",),
        wraps=86400,
    ),
    Dialect(
        "SLCAN with times",
        "t1A0800112233445566770001",
        frames=(
            "t{id:3}{dlc:one}{data:counted}{time:hex}",
            "T{id:8}{set:extended}{dlc:one}{data:counted}{time:hex}",
            "r{id:3}{dlc:one}{set:remote}{time:hex}",
            "R{id:8}{set:extended}{dlc:one}{set:remote}{time:hex}",
        ),
        per_second=MS,
        wraps=60_000,
    ),
    # tables with a header; others are read by the names of their columns
    Dialect(
        "can-train-and-test",
        "timestamp,arbitration_id,data_field,attack",
        header=r"timestamp,arbitrationid,datafield(,attack)?",
        per_second=None,
    ),
    Dialect(
        "SavvyCAN (GVRET)",
        "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8",
        header=r"timestamp,id,extended,(dir,)?bus,len,d1.*",
        per_second=US,
    ),
    Dialect(
        "python-can .csv",
        "timestamp,arbitration_id,extended,remote,error,dlc,data",
        header=r"timestamp,arbitrationid,extended,remote,error,dlc,data",
        fields={"data": "{base64}", "dlc": "{dlc:any}"},
    ),
    Dialect(
        "cabana",
        "time,addr,bus,data",
        header=r"time,addr,bus,data",
        fields={"arbitration_id": "{id:10}"},
    ),
    Dialect(
        "decoded signals (SynCAN, ROAD)",
        "Label,Time,ID,Signal1_of_ID,Signal2_of_ID",
        header=r"(.*,)?signal\d.*",
        lacks=_SIGNALS,
    ),
)

# What the columns of other tables are called, in lower case without signs; the first that a table
# has is taken. A name may end in the unit of the times.
ROLES = {
    "timestamp": r"(timestamps?|timestampepoch|abstime|unixtime|epoch|datetime|time|ts|t|date)"
    r"(s|secs?|seconds|ms|us|ns|\w*epoch)?",
    "arbitration_id": r"(arbitration|can|arb|msg|message)?(id|identifier)(hex|dec)?|addr|address",
    "data": r"data(field|bytes|hex)?(hex)?|payload|bytes|databyteshex",
    "dlc": r"datalength|dlc|len|length|dl",
    "attack": r"attack|label|class|isattack|flag",
    "bus": r"bus(channel|id|name)?|channel|chn?|network|interface",
    "is_extended_id": r"(is)?extended(id)?|ide|xtd|ext|format",
    "is_remote_frame": r"(is)?remote(frame)?|rtr",
    "is_error_frame": r"(is)?error(frame)?|er",
}
BYTE = r"(d|b|data|byte|databyte)\d{1,2}"  # the name of a column of one byte
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6, "ns": 1e9}  # in a second
