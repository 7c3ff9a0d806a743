"""The DAG: which runs `all` has, that a kill is followed by the rest, and a failure by the others.

papermill and the pages are stood in for by scripts, so that a stage takes no time.
"""

import json
import os
import re
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import psutil
import pytest

from cangraph.runs import STAGES

ROOT = Path(__file__).parents[1]
PAPERMILL = """#!/bin/sh
# input output --kernel … -p dataset … -p seed …: the JSON that a notebook would save
echo "$2 $*" >> called
stem=${2%.part.ipynb}
echo '{}' > "$2"
if test -e "hold" && test "$stem" = "$(cat hold)"; then echo $$ > held; exec sleep 60; fi
if test -e "fail" && test "$stem" = "$(cat fail)"; then exit 1; fi
echo '{"stage": "x"}' > "$stem.json"
"""
PYTHON = """#!/bin/sh
# -m cangraph.report.pages notebook
for last; do :; done
touch "${last%.ipynb}.html"
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The Snakefile with its notebooks and parameters, beside data of hcrl_sa, in a folder."""
    for name in ("Snakefile", "notebooks", "params", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    for folder in ("hcrl_sa/train_01_attack_free", "hcrl_ch_head"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "a.csv").write_text("")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {"papermill": PAPERMILL, "python": PYTHON}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("CANGRAPH_HOME", str(tmp_path))
    monkeypatch.setenv("CANGRAPH_DATA", "data")
    scripts = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", f"{tools}:{scripts}:{os.environ['PATH']}")
    return tmp_path


def snakemake(checkout, *given, seeds=1):
    command = ["snakemake", "--cores", "4", "--quiet", "all", "--config", f"seeds={seeds}"]
    with (checkout / "log").open("a") as log:
        return subprocess.Popen([*command, *given], cwd=checkout, stdout=log, stderr=log)


def called(checkout):
    lines = (checkout / "called").read_text().splitlines()
    return [line.split()[0].removeprefix("runs/").removesuffix(".part.ipynb") for line in lines]


def test_all_is_every_dataset_that_is_there_with_every_seed_and_then_the_summary(checkout):
    assert snakemake(checkout, seeds=2).wait() == 0, (checkout / "log").read_text()
    names = ["demo", "demo/seed_1", "hcrl_sa", "hcrl_sa/seed_1"]
    order = called(checkout)
    assert sorted(order) == sorted([f"{n}/{s}" for n in names for s in STAGES] + ["summary"])
    assert order[-1] == "summary"
    # a report takes its intervals over all seeds, which are there by then
    for one in ("demo/diagnostics", "demo/seed_1/diagnostics"):
        for other in ("demo/fusion", "demo/seed_1/fusion"):
            assert order.index(other) < order.index(one)
    line = (checkout / "called").read_text().splitlines()[order.index("hcrl_sa/seed_1/teacher")]
    assert line.endswith("-p dataset hcrl_sa -p seed 1")


def test_a_kill_ends_what_it_started_and_the_same_command_goes_on(checkout):
    (checkout / "hold").write_text("runs/hcrl_sa/distillation")
    first = snakemake(checkout)
    held = checkout / "held"
    wait_for(held.is_file)
    first.send_signal(signal.SIGKILL)
    first.wait()
    number = int(held.read_text())
    wait_for(lambda: ended(number))
    assert not (checkout / "runs/hcrl_sa/distillation.json").exists()
    before = called(checkout)
    (checkout / "hold").unlink()
    assert snakemake(checkout).wait() == 0, (checkout / "log").read_text()
    again = called(checkout)[len(before) :]
    assert "hcrl_sa/distillation" in again and again[-1] == "summary"
    assert "hcrl_sa/teacher" not in again and "demo/data_prep" not in again


def test_a_stage_that_fails_leaves_the_other_runs_alone_and_its_notebook(checkout):
    (checkout / "fail").write_text("runs/demo/teacher")
    assert snakemake(checkout, "--keep-going").wait() != 0
    assert "hcrl_sa/diagnostics" in called(checkout)
    assert (checkout / "runs/demo/teacher.failed.ipynb").is_file()
    assert not (checkout / "runs/demo/teacher.part.ipynb").exists()
    assert "summary" not in called(checkout)
    # and the page can be made of those that are there
    page = ["--forcerun", "page", "--", "runs/summary.html"]
    assert snakemake(checkout, *page, seeds=0).wait() == 0, (checkout / "log").read_text()
    assert called(checkout)[-1] == "summary"


def test_two_runs_are_compared_by_name(checkout):
    config = ["before=it's one", "after=demo", "metric=f1"]
    assert snakemake(checkout, *config, "--", "runs/compare.html").wait() == 0
    (line,) = (checkout / "called").read_text().splitlines()
    assert line.endswith("-p before it's one -p after demo -p metric f1")
    assert json.loads((checkout / "runs/compare.json").read_text())


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.1)


def ended(number):
    zombie = psutil.STATUS_ZOMBIE  # which nobody waited for
    return not psutil.pid_exists(number) or psutil.Process(number).status() == zombie


def test_what_make_prints_of_a_report_is_in_it():
    printed = re.findall(r'diagnostics\.json"\)\)\["(\w+)"\]', (ROOT / "Makefile").read_text())
    schema = json.loads((ROOT / "docs/diagnostics.schema.json").read_text())
    assert printed and set(printed) <= set(schema["properties"])
