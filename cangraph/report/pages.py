"""A notebook that ran as one page: HTML without network, light and dark, and a PDF of it.

`python -m cangraph.report.pages runs/demo/diagnostics.ipynb` writes `diagnostics.html` beside it.
Pages that people print (`PRINTED`) also become a PDF where there is a chromium.
"""

import os
import re
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

PRINTED = ("diagnostics", "summary")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# what a browser may do with a page: show its own style and pictures, load and run nothing
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"


def html(notebook: Path) -> str:
    """A notebook's text and outputs, without its code, as one page: pictures are embedded, and by
    the page's policy a browser runs no script and loads nothing from elsewhere.
    Cells that are tagged `not-in-<page>` are left out of that page.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor, TagRemovePreprocessor

    bare = dict.fromkeys(("exclude_input", "exclude_input_prompt", "exclude_output_prompt"), True)
    exporter = HTMLExporter(template_name="basic", anchor_link_text="", **bare)
    # papermill keeps each line that was printed as an output of its own
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    left_out = TagRemovePreprocessor(remove_cell_tags={f"not-in-{notebook.stem}"}, enabled=True)
    exporter.register_preprocessor(left_out)
    body, _ = exporter.from_notebook_node(nbformat.read(notebook, as_version=4))
    return shell(body, notebook.stem)


def shell(body: str, name: str) -> str:
    """A body as a whole page: a title (its h1, or the `name`), style, and links to its h2."""
    import jinja2

    loader = jinja2.PackageLoader("cangraph.report", "")
    page = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html")
    return page.render(
        body=body,
        title=next(iter(re.findall(r"<h1[^>]*>(.*?)</h1>", body, re.S)), escape(name)),
        headings=re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', body, re.S),
        style=Path(__file__).with_name("page.css").read_text(encoding="utf-8"),
        policy=_POLICY,
    )


def pdf(page: Path) -> Path | None:
    """Print a page to a PDF beside it with a headless chromium; None where there is none.

    Raises `RuntimeError` with what the browser said when it makes no PDF.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        return None
    made = page.with_suffix(".pdf")
    command = [found, "--headless", "--disable-gpu", "--no-pdf-header-footer"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # chromium refuses its sandbox to root
    command += [f"--print-to-pdf={made}", page.resolve().as_uri()]
    made.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or not made.is_file():
        said = f"(exit status {done.returncode}); it said: {done.stderr.strip()[-500:]}"
        raise RuntimeError(f"{found}: no PDF of {page} {said}")
    return made


def write(notebook: Path) -> str:
    """Write the page of a notebook beside it, and its PDF if it is one of `PRINTED`. Returns why
    there is no PDF, or nothing."""
    page = notebook.with_suffix(".html")
    page.write_text(html(notebook), encoding="utf-8")
    if notebook.stem not in PRINTED or pdf(page):
        return ""
    return (
        f"{page.with_suffix('.pdf')} was not made: none of {', '.join(BROWSERS)} is on the PATH; "
        "`apt-get install chromium` brings one"
    )


if __name__ == "__main__":  # what the Snakefile calls when a notebook has run
    for name in sys.argv[1:]:
        if said := write(Path(name)):
            print(said, file=sys.stderr)
