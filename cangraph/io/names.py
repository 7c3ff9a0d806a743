"""Names of messages and signals, from a database of the vehicle."""

from pathlib import Path
from typing import Any

from cangraph.extras import named_extra


class Names:
    """The messages and signals of a DBC (or .kcd, .arxml, .sym) file, by cantools.

    Raises `ValueError` for a file that cantools cannot read."""

    def __init__(self, path: Path | str):
        with named_extra("--dbc"):
            import cantools
        try:
            self.database: Any = cantools.database.load_file(path, strict=False)
        except FileNotFoundError as error:
            came = f"{path}: no such file; expected a database of messages"
            raise FileNotFoundError(f"{came}; check the path") from error
        except OSError:
            raise
        except Exception as error:  # cantools' parsers share no class
            why = " ".join(str(error).split())[:120]
            came = f"{path}: no database of messages ({why})"
            raise ValueError(f"{came}; expected a .dbc file; give another") from error

    def message(self, arbitration_id: int) -> str:
        try:
            return self.database.get_message_by_frame_id(arbitration_id).name
        except KeyError:
            return ""

    def signals(self, arbitration_id: int, payload: str) -> dict[str, str]:
        """The signals of a payload (hexadecimal) as text; none where it is not as the file says."""
        try:
            message = self.database.get_message_by_frame_id(arbitration_id)
            values = message.decode(bytes.fromhex(payload), decode_choices=True)
            units = {signal.name: signal.unit or "" for signal in message.signals}
        except Exception:  # not in the file, or of another length: what cantools raises varies
            return {}
        return {name: f"{value} {units[name]}".strip() for name, value in values.items()}

    def changed(self, arbitration_id: int, before: str, after: str) -> dict[str, list[str]]:
        """The signals that differ between two payloads, as text: before and after."""
        ago, now = self.signals(arbitration_id, before), self.signals(arbitration_id, after)
        return {name: [ago.get(name, ""), v] for name, v in now.items() if ago.get(name) != v}
