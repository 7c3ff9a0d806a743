"""The commands: what each needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# what runs in a plain installation, without extras
WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "pydantic", "yaml", "polars", "cantools"}:
            raise ModuleNotFoundError(f"no {name}", name=name)
sys.meta_path.insert(0, Blocked())
from cangraph.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words, status, says",
    [
        (["--help"], 0, ["scan ", "monitor ", "data ", "freeze "]),
        (["monitor", "--help"], 0, ["--calibrate", "--interface"]),
        (["scan", "--help"], 0, ["--detector", "--dbc"]),
        (["scan", "bus.log", "--dbc", "car.dbc"], 2, ["cantools", ".[dbc]"]),
        (["data", "demo"], 0, ["demo: simulated"]),
        (["data", "demos"], 1, ["demos: no such dataset", "hcrl_sa"]),
        (["freeze", "-o", "claim.json"], 1, ["yaml", ".[train]"]),
        (["drive"], 2, ["invalid choice: 'drive'"]),
    ],
)
def test_commands_run_or_name_the_extra_that_they_need(words, status, says):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    assert all(word in done.stdout + done.stderr for word in says)


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "cangraph", "data"]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) as running:
        running.stdout.close()
        assert running.stderr.read() == "" and running.wait(60) == 141
