"""Who imports whom, what starts without torch, what is installed."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT = [
    "rvqcodec",
    "rvqcodec.errors",
    "rvqcodec.encoded",
    "rvqcodec.codec.levelling",
    "rvqcodec.times",
    "rvqcodec.formats.rvq.stream",
    "rvqcodec.formats.rvq.verify",
    "rvqcodec.formats.rvq.recover",
    "rvqcodec.formats.rvq.trim",
    "rvqcodec.formats.audio.reader",
    "rvqcodec.weights.registry",
    "rvqcodec.weights.tables",
    "rvqcodec.pipeline.tables",
    "rvqcodec.pipeline.stored",
    "rvqcodec.pipeline.coding",
]


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, **options)


def test_import_contracts_hold():
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed")
    done = run(sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_start_without_torch(module):
    code = f"import sys, {module}; print([name for name in ('torch', 'typer', 'rich') if name in sys.modules])"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_info_and_verify_of_a_file_need_no_torch():
    code = (
        "import sys\n"
        "from rvqcodec.formats.rvq.verify import summarize, verify\n"
        "with open('tests/vectors/tiny-raw.rvq', 'rb') as file:\n"
        "    summarize(file); file.seek(0); verify(file, deep=True)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_root_links_lead_to_the_sub_packages():
    for name in ("cli", "formats", "weights"):
        link = ROOT / name
        if not link.is_symlink():
            pytest.skip("this checkout has no symbolic links")
        assert link.readlink() == Path("rvqcodec") / name


def test_one_package_is_installed_with_its_data(tmp_path):
    if importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("setuptools or pip is not installed")
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools is older than the build needs")
    tree = tmp_path / "tree"
    tree.mkdir()
    tracked = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.split("\0")
    if len(tracked) < 2:
        pytest.skip("not a git checkout")
    for name in filter(None, tracked):
        path = ROOT / name
        if path.is_symlink() or not path.is_file() or name.startswith(("tests/", "benchmarks/")):
            continue
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(path.read_bytes() if path.stat().st_size < 1 << 20 else b"")
    done = run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(tree)
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rvqcodec"}
    for needed in ("py.typed", "formats/rvq/SPEC.md", "pipeline/coding.py", "codec/codec.py"):
        assert f"rvqcodec/{needed}" in names
    data = [name for name in tracked if name.startswith("rvqcodec/weights/data/")]
    assert set(data) <= set(names), "the embedded weights are in the wheel"
    assert not [name for name in names if "test" in Path(name).name]
