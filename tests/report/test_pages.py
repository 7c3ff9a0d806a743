"""Pages need no network, pictures have words, and a PDF is made where it can be."""

import base64
import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import nbformat
import pytest
from nbformat import v4

from cangraph.report import pages

BROWSER = any(map(shutil.which, pages.BROWSERS))
PIXEL = base64.b64encode(b"\x89PNG not really").decode()


@pytest.fixture
def notebook(tmp_path):
    """Writes a notebook with these outputs of one cell."""

    def of(*outputs, name="page"):
        cells = [
            v4.new_markdown_cell("# Is it <b>so</b> & <i?"),
            v4.new_markdown_cell("## First things\nSee [the paper](https://example.org/paper)."),
            v4.new_code_cell("secret = 1", outputs=list(outputs)),
        ]
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(v4.new_notebook(cells=cells), path)
        return path

    return of


def picture():
    words = {"image/png": {"alt": "A bar is high."}}
    return v4.new_output("display_data", {"image/png": PIXEL}, metadata=words)


def test_a_page_holds_text_pictures_and_their_words_but_no_code(notebook):
    lines = [v4.new_output("stream", name="stdout", text=f"epoch {k}\n") for k in range(3)]
    page = pages.html(notebook(picture(), *lines))
    assert "https://example.org/paper" in page, "a link that a reader follows"
    assert 'alt="A bar is high."' in page and f"data:image/png;base64,{PIXEL}" in page
    assert "secret" not in page and "<script" not in page
    assert "<title>Is it so &amp; &lt;i?</title>" in page
    assert '<a href="#First-things">First things</a>' in page, "the contents"
    assert "epoch 0\nepoch 1\nepoch 2\n" in page, "papermill keeps lines apart"


def test_a_cell_is_left_out_of_the_page_that_its_tag_names(notebook):
    path = notebook(picture(), name="summary")
    content = nbformat.read(path, as_version=4)
    content.cells[1].metadata.tags = ["not-in-summary"]
    nbformat.write(content, path)
    assert "First things" not in pages.html(path)
    assert "First things" in pages.html(path.rename(path.with_stem("compare")))


@pytest.fixture
def asked():
    """The paths that were asked of a server on this machine, and its address."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield paths, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(not BROWSER, reason="needs chromium")
def test_a_page_loads_and_runs_nothing_whatever_its_outputs_ask_for(notebook, asked):
    paths, address = asked
    loading = f"""<script src="{address}/a.js"></script><script>fetch("{address}/b")</script>
        <img src="{address}/c.png" srcset="{address}/d.png 2x" onerror="fetch('{address}/e')">
        <link rel="stylesheet" href={address}/f.css><iframe src="{address}/g"></iframe>
        <p style="background: url({address}/h.png)">x</p>
        <style>@import "{address}/i.css";</style>"""
    output = v4.new_output("display_data", {"text/html": loading})
    path = notebook(output, picture(), name="diagnostics")
    assert pages.write(path) == ""
    assert path.with_suffix(".pdf").read_bytes()[:5] == b"%PDF-"
    assert paths == []
    # without the policy the browser would have asked
    page = path.with_suffix(".html")
    page.write_text(re.sub("<meta http-equiv[^>]*>", "", page.read_text()))
    pages.pdf(page)
    assert {"/a.js", "/f.css", "/i.css"} <= {*paths}


def test_without_a_browser_there_is_no_pdf_and_a_line_says_why(notebook, monkeypatch):
    monkeypatch.setattr(pages.shutil, "which", lambda name: None)
    path = notebook(picture(), name="diagnostics")
    said = pages.write(path)
    assert path.with_suffix(".html").is_file() and not path.with_suffix(".pdf").exists()
    assert "none of chromium" in said
    assert pages.write(notebook(name="teacher")) == "", "nobody takes that one away on paper"


def test_a_browser_that_fails_is_quoted(tmp_path, monkeypatch):
    broken = tmp_path / "browser"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(pages, "BROWSERS", (str(broken),))
    page = tmp_path / "a.html"
    page.write_text("<p>a</p>")
    with pytest.raises(RuntimeError, match=r"exit status 3\); it said: no display"):
        pages.pdf(page)
