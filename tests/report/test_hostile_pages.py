"""What data says is text on a page, whatever it looks like: names of files, captures and buses."""

import base64
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat import v4

import cangraph as cg
from cangraph.__main__ import main
from cangraph.bus.simulator import simulate
from cangraph.data.card import data_card
from cangraph.data.graphs import to_graphs
from cangraph.io.writers import write_frames
from cangraph.report import pages

pytestmark = pytest.mark.acceptance

NAME = "<img src=x onerror=alert(1)>"
HOSTILE = [
    NAME,
    "</title><script>alert(1)</script>",
    "[x](javascript:alert(1)) `<b>` **",
    "&lt;i&gt;",
]
MAY = {"html", "head", "meta", "title", "style", "body", "nav", "main", "ul", "li", "a", "h1", "h2",
       "h3", "p", "div", "span", "table", "thead", "tbody", "tr", "th", "td", "code", "mark", "img",
       "pre", "section", "strong"}  # fmt: skip


class Page(HTMLParser):
    """A page as a browser takes it: its tags with their attributes, its text and its title."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.titles, self.inside = [], "", [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        self.text += data
        if self.inside == "title":
            self.titles.append(data)

    def handle_endtag(self, tag):
        self.inside = ""


def runs_nothing(html):
    """The page, if nothing in it was written by data, and no browser would run or load anything."""
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= MAY
    for tag, said in page.tags:
        assert not [name for name in said if name.startswith("on")]
        assert tag != "img" or said["src"].startswith("data:image/png;base64,")
        assert said.get("href", "#").startswith(("#", "https://"))
    (policy,) = (a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and "script-src" not in rules
    return page


@pytest.fixture(scope="module")
def card_page(tmp_path_factory):
    """data_prep's page of captures with hostile names."""
    whole = simulate("aster", 8.0, seed=1)
    captures = [replace(whole, name=name, scenario=name, vehicle=name) for name in HOSTILE]
    card = data_card(captures, to_graphs(captures))
    assert any(NAME in warning for warning in card["warnings"])
    shown = [cg.report.Remarks(card["warnings"], lead=NAME), cg.report.show(card["captures"])]
    outputs = [v4.new_output("display_data", {"text/html": s._repr_html_()}) for s in shown]
    outputs.append(v4.new_output("stream", name="stdout", text="\n".join(HOSTILE)))
    picture = {"image/png": base64.b64encode(b"\x89PNG").decode()}
    words = {"image/png": {"alt": f'"{NAME}'}}
    outputs.append(v4.new_output("display_data", picture, metadata=words))
    cells = [v4.new_markdown_cell("# Data"), v4.new_code_cell("", outputs=outputs)]
    path = tmp_path_factory.mktemp("pages") / "data_prep.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    pages.write(path)
    return path.with_suffix(".html")


@pytest.fixture(scope="module")
def scan_page(tmp_path_factory):
    """The scan of a log with a hostile name and a hostile row, and of one that is none."""
    folder = tmp_path_factory.mktemp("logs")
    drive = simulate("borage", 12.0, attack="flooding", seed=3, bursts=1)
    log = folder / f"{NAME}.csv"
    write_frames(drive, log)
    with log.open("a") as file:  # a row that is refused is quoted
        file.write(f"{NAME}\n")
    (folder / f"{NAME}.txt").write_text(NAME)
    out = folder / "out.html"
    assert main(["scan", str(log), "--html", str(out)]) == 1
    first = out.read_text()
    assert main(["scan", str(log), str(folder / f"{NAME}.txt"), "--html", str(out)]) == 1
    (folder / "one.html").write_text(first)
    return out


def test_names_are_text_on_the_page_of_data(card_page):
    page = runs_nothing(card_page.read_text())
    assert page.titles == ["Data"]
    assert all(name in page.text for name in HOSTILE)


def test_names_are_text_on_the_page_of_a_scan(scan_page):
    page = runs_nothing(scan_page.with_name("one.html").read_text())
    assert "".join(page.titles).startswith(f"{NAME}.csv")
    assert f"{NAME}' has " in page.text or f"{NAME}'" in page.text, "the row that was refused"
    assert NAME in runs_nothing(scan_page.read_text()).text


def test_a_browser_shows_the_name_and_runs_nothing(card_page, scan_page):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, pages.BROWSERS)), None)
    if found is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for path in (card_page, scan_page, scan_page.with_name("one.html")):
            page, said = browser.new_page(), []
            page.on("dialog", lambda dialog, said=said: (said.append("dialog"), dialog.dismiss()))
            page.on("request", lambda request, said=said: said.append(request.url))
            page.goto(path.as_uri())
            title = "".join(runs_nothing(path.read_text()).titles)
            assert page.title() == " ".join(title.split())
            assert NAME in page.inner_text("body")
            assert [url for url in said if not url.startswith("data:")] == [path.as_uri()]
        browser.close()
