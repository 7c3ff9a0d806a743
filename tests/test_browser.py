"""Every notebook in a real JupyterLab: a browser opens it, runs all cells, and sees the figures.

It needs chromium and playwright (`pip install -c constraints.txt -e ".[browser]"`), and minutes.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cangraph.report.pages import BROWSERS
from cangraph.runs import STAGES

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
LONGEST = 1800  # s, of one notebook on a busy machine
OTHERS = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - set(STAGES)
NOTEBOOKS = (*STAGES, *sorted(OTHERS))  # the others go on from what the stages leave

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab over copies of the notebooks, with a home of its own; it goes on
    from a demo run that is there."""
    home = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "params"):
        shutil.copytree(ROOT / name, home / name)
    if (ROOT / "runs/demo/data_prep.json").is_file():
        shutil.copytree(ROOT / "runs/demo", home / "runs/demo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", "--ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={home}", "--ServerApp.port_retries=0"]
    environment = os.environ | {"CANGRAPH_HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "c")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=environment, **quiet)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            assert server.poll() is None, "JupyterLab did not start"
            try:
                urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=5)
                break
            except OSError:
                time.sleep(1)
        yield address, token, home
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_run_and_the_figures_are_seen(lab, browser, name):
    address, token, home = lab
    path = home / f"notebooks/{name}.ipynb"
    code = sum(c["cell_type"] == "code" for c in json.loads(path.read_text())["cells"])
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{address}/lab/workspaces/{name}/tree/notebooks/{name}.ipynb?reset&token={token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
    # "No Kernel" is idle as well, and runs nothing
    page.get_by_text(re.compile(r"^Python 3.* \| Idle$")).wait_for(timeout=120_000)
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    for _ in range(LONGEST // 2):  # saved by hand until the last cell has its number
        page.keyboard.press("Control+s")
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        outputs = [output for cell in cells for output in cell["outputs"]]
        failed = [o for o in outputs if o["output_type"] == "error"]
        assert not failed, "\n".join(failed[0]["traceback"])
        if all(cell["execution_count"] for cell in cells):
            break
        time.sleep(2)
    assert len(cells) == code and all(cell["execution_count"] for cell in cells)
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert pictures and all(o["metadata"]["image/png"]["alt"] for o in pictures)
    images = page.locator(".jp-Notebook .jp-RenderedImage img")
    for k in range(len(pictures)):
        images.nth(k).scroll_into_view_if_needed()
        assert images.nth(k).evaluate("image => image.complete && image.naturalWidth > 200")
    page.close()
