"""The wheel is complete, and works away from a checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from cangraph.extras import BASE

ROOT = Path(__file__).parents[1]
TRAIN_ONLY = ("pandas", "polars", "pydantic", "scipy", "sklearn", "torch", "yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel made without network from a copy of the sources, as the build leaves files there."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("cangraph", "params"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("cangraph-*.whl")
    return path


@pytest.fixture
def run(wheel, tmp_path):
    """Runs code with the package of the wheel, in an empty folder; without the packages that the
    `train` extra brings if `base`."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    here = tmp_path / "elsewhere"
    here.mkdir()
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CANGRAPH_")}

    def call(code: str, base: bool = False, without: tuple[str, ...] = ()) -> str:
        lacking = without + TRAIN_ONLY * base
        if lacking:
            code = f"import sys\nsys.modules |= dict.fromkeys({lacking})\n{code}"
        command = [sys.executable, "-c", code]
        env = inherited | {"PYTHONPATH": str(tmp_path / "site"), "NUMBA_DISABLE_JIT": "1"}
        done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip()

    return call


def test_it_holds_every_file_of_the_package_and_the_parameters(wheel):
    files = {path for path in (ROOT / "cangraph").rglob("*") if path.is_file()}
    expected = {p.relative_to(ROOT).as_posix() for p in files if "__pycache__" not in p.parts}
    expected |= {f"cangraph/presets/{path.name}" for path in (ROOT / "params").glob("*.yaml")}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_what_cangraph_needs_itself_is_its_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {word.split(">")[0].replace("-", "_") for word in project["dependencies"]}
    assert {*BASE} == {name.removeprefix("python_") for name in needed}


@pytest.mark.acceptance
@pytest.mark.parametrize(
    "code, lacks, remedy",
    [
        ("cg.load_params('demo')", "yaml", '".[train]"'),
        ("cg.report.published()", "yaml", '".[train]"'),
        ("cg.report.show([])", "tabulate", '".[train]"'),
        ("cg.GAT", "torch", '".[train]"'),
        ("cg.Exported(cg.deploy.boxed())", "onnxruntime", 'pip install "."'),
        ("from cangraph.__main__ import main; main(['scan', 'bus.log'])", "rich", 'install "."'),
        ("from cangraph.__main__ import main; main(['unseen'])", "yaml", '".[train]"'),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_remedy(code, lacks, remedy, run):
    code = f"import cangraph as cg\ntry: {code}\nexcept ModuleNotFoundError as e: print(e)"
    said = run(code, without=(lacks,))
    assert said.count("\n") == 0 and f"the package {lacks} is not installed" in said
    assert remedy in said and "export" not in said


def test_parameters_are_found_and_runs_lie_in_the_current_folder(run):
    printed = run(
        "import cangraph as cg, pathlib\n"
        "from cangraph.files import data_home, home\n"
        "print(cg.load_params('demo').window)\n"
        "print(home() == pathlib.Path.cwd(), data_home() == pathlib.Path.cwd() / 'data')\n"
        "cg.read('hcrl_sa')\n"
    )
    assert printed.splitlines()[:2] == ["100", "True True"]
    assert "FileNotFoundError: dataset 'hcrl_sa': no captures in " in printed


def test_the_base_install_simulates_and_reads_and_names_the_extra_of_what_it_lacks(run):
    printed = run(
        "import cangraph as cg\n"
        "frames = cg.simulate('aster', seconds=2, seed=0)\n"
        "cg.write_frames(frames, 'bus.log')\n"
        "print(len(cg.read_frames('bus.log')) == len(frames) > 0)\n"
        "try: cg.load_params('demo')\n"
        "except ModuleNotFoundError as error: print(error)\n",
        base=True,
    )
    whole, refused = printed.splitlines()
    assert whole == "True"
    assert refused.startswith("cangraph.load_params: the package yaml is not installed")
    assert '".[train]"' in refused
