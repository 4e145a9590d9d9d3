"""What goes wrong before a model is wanted: exit status and the exact lines on stderr."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rvqcodec.cli.errors import BUG, BUG_HINT, status_of
from rvqcodec.cli.text import format_size, format_table, printable
from rvqcodec.errors import AudioError, DeviceError, TruncatedError
from rvqcodec.training.measure import evaluation

SESSIONS = [
    (
        "encode a.wav b.wav -o one.rvq",
        2,
        "rvq: one.rvq is one file's name, and there are several inputs\nhint: name a folder with -o DIR/\n",
    ),
    ("nope", 2, "rvq: no such command 'nope'\nhint: see rvq --help\n"),
    ("encode", 2, "rvq: missing argument 'IN...'\nhint: see rvq encode --help\n"),
    ("encode a.wav --layers 6 --bitrate 3", 2, "rvq: --layers and --bitrate are mutually exclusive\n"),
    ("encode a.wav --layers 25", 2, "rvq: --layers 25: the model rvq48 has 1 to 24 layers\n"),
    ("encode a.wav --layers 0", 2, "rvq: --layers 0: the model rvq48 has 1 to 24 layers\n"),
    ("encode a.wav --layers -1", 2, "rvq: --layers -1: the model rvq48 has 1 to 24 layers\n"),
    ("encode a.wav --bitrate nan", 2, "rvq: --bitrate nan: expected a bitrate above 0 kbps\n"),
    ("encode a.wav --chunk 164", 2, "rvq: --chunk 164: a chunk has 1 to 163 seconds\n"),
    (
        "encode a.wav --device gpu",
        2,
        "rvq: unknown device: 'gpu'\nhint: --device takes auto, cpu, cuda, cuda:N or mps\n",
    ),
    ("encode a.wav -c -o b.rvq", 2, "rvq: -c and -o are mutually exclusive\n"),
    ("encode folder", 4, "rvq: the folder folder holds no audio files\nhint: -r descends into folders\n"),
    (
        "encode a.wav -c --json",
        2,
        "rvq: --json and the output both go to standard output\nhint: name the output with -o FILE\n",
    ),
    ("encode - out.rvq --rm", 2, "rvq: --rm needs a file as input and as output\n"),
    ("encode absent.wav", 4, "rvq: absent.wav: no such file or folder\n"),
    (
        "encode text.wav -o text.wav -f",
        7,
        "rvq: text.wav: the output is the input itself\nhint: name another output with -o\n",
    ),
    (
        "encode a.wav --model nope",
        6,
        "rvq: unknown model: 'nope'\nhint: known models: rvq48 (rvq models list), or the path of a .safetensors file\n",
    ),
    ("encode absent/", 4, "rvq: absent/: no such file or folder\n"),
    ("decode absent.rvq", 4, "rvq: absent.rvq: no such file or folder\n"),
    ("info absent/", 4, "rvq: absent/: no such file or folder\n"),
    ("eval absent.wav text.wav", 4, "rvq: absent.wav: no such file or folder\n"),
    ("decode text.wav", 5, "rvq: text.wav: not an .rvq file\n"),
    (
        "encode text.rvq",
        4,
        "rvq: text.rvq: this is an .rvq file already\nhint: rvq transcode and rvq trim make others of it\n",
    ),
    ("decode text.wav out.wav --end 3 --duration 2", 2, "rvq: --end and --duration are mutually exclusive\n"),
    ("decode a.rvq --start 1 --rm", 2, "rvq: --rm would remove a file of which only a part was decoded\n"),
    (
        "decode a.rvq --start soon",
        2,
        "rvq: 'soon' is not a time: expected seconds (90.5), MM:SS.mmm, HH:MM:SS or samples (44100s)\n",
    ),
    (
        "info -",
        2,
        "rvq: info reads the end of a file, which standard input doesn't have\nhint: name a file\n",
    ),
    (
        "trim a.rvq -n 3",
        2,
        "rvq: no output is named\nhint: name it with -o OUT.rvq, or with -o DIR for several inputs\n",
    ),
]


@pytest.mark.parametrize(("line", "status", "expected"), SESSIONS, ids=[session[0] for session in SESSIONS])
def test_error_lines(here, rvq, line, status, expected):
    (here / "text.wav").write_text("not audio\n" * 50)
    (here / "text.rvq").write_text("any bytes")
    (here / "folder").mkdir()
    before = sorted(here.iterdir())
    result = rvq(*line.split())
    assert (result.err, result.status, result.out) == (expected, status, b"")
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("encode text.wav", 4),
        ("encode empty.wav", 4),
        ("decode text.wav out.wav", 5),
        ("decode empty.wav out.wav", 5),
        ("decode text.wav out.xyz", 7),
        ("encode a.wav --layers abc", 2),
        ("encode a.wav --effort most", 2),
        ("decode a.rvq --bits 12", 2),
        ("decode a.rvq --rate 10", 2),
        ("info text.wav", 5),
        ("verify text.wav empty.wav", 3),
        ("recover empty.wav -o x.rvq", 5),
        ("trim text.wav -n 2 -o x.rvq", 5),
        ("models show nope", 6),
    ],
)
def test_error_statuses(here, rvq, line, status):
    (here / "text.wav").write_text("not audio\n" * 50)
    (here / "empty.wav").write_bytes(b"")
    result = rvq(*line.split())
    assert result.status == status, result.err
    assert result.err.startswith("rvq: ") and len(result.err.splitlines()) <= 3
    assert sorted(path.name for path in here.iterdir()) == ["empty.wav", "text.wav"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AudioError("x"), 4),
        (TruncatedError("x"), 5),
        (DeviceError("x"), 8),
        (MemoryError(), 8),
        (ValueError("x"), 2),
        (KeyError("x"), 1),
    ],
)
def test_statuses_of_exceptions(error, status):
    assert status_of(error) == status


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_asks_for_a_report(rvq, monkeypatch, debug):
    def fail(_):
        raise RuntimeError("odd")

    monkeypatch.setattr("rvqcodec.cli.app.run", fail)
    result = rvq("info", "x", *["--debug"] * debug)
    assert result.status == BUG
    assert result.err.endswith("rvq: internal error: RuntimeError: odd\nhint: " + BUG_HINT + "\n")
    assert ("Traceback" in result.err) == debug


def test_an_interrupt_is_130(rvq, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("rvqcodec.cli.stored.info", stop)
    assert rvq("info", "x").status == 130


def test_terminals_get_no_binary(here, rvq, monkeypatch, stored):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    result = rvq("trim", stored(), "-n", "2", "-c")
    assert result.status == 2 and "terminal" in result.err


def test_odd_names_cannot_spoil_the_terminal():
    assert printable("a\nb\x1b[1m\udcff ü") == "a\\nb\\x1b[1m\\xff ü"


def test_sizes_and_tables():
    assert [format_size(n) for n in (0, 999, 1234, 99_950, 268_400, 3_000_000_000)] == [
        "0 B",
        "999 B",
        "1.23 KB",
        "100 KB",
        "268 KB",
        "3 GB",
    ]
    assert format_table([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc  d"


def test_help_version_and_no_command(rvq):
    assert rvq("--version").out.startswith(b"rvq ")
    for command in ("encode", "decode", "info", "verify", "trim", "recover", "models", "train"):
        assert command.encode() in rvq("--help").out
        assert rvq(command, "--help").status == 0
    assert rvq().status == 2


def test_training_without_its_extra_says_so(rvq, monkeypatch):
    monkeypatch.setitem(sys.modules, "rvqcodec.training.commands", None)
    result = rvq("train", "run")
    assert (result.status, result.err) == (
        2,
        "rvq: what rvq train needs is not installed\nhint: pip install 'rvqcodec[train]'\n",
    )
    assert b"train" not in rvq("--help").out


def test_an_evaluation_without_its_packages_says_so(here, rvq, monkeypatch):
    import numpy as np
    import soundfile

    soundfile.write(here / "a.wav", np.random.default_rng(0).normal(0, 0.1, 60_000), 48_000)
    monkeypatch.setitem(sys.modules, "visqol", None)
    evaluation._visqol.cache_clear()
    result = rvq("eval", "a.wav", "a.wav")
    assert (result.status, result.err) == (
        2,
        "rvq: evaluation needs the package visqol-python\nhint: pip install 'rvqcodec[eval]'\n",
    )


def test_the_help_of_training_has_no_completion_of_its_own(rvq):
    assert b"--install-completion" in rvq("--help").out
    assert b"completion" not in rvq("train", "--help").out


def test_light_commands_import_no_torch(stored):
    a = stored()
    commands = [["--help"], ["--version"], ["encode", "--help"], ["train", "--help"], ["info", a], ["verify", a]]
    commands += [["verify", "--deep", a], ["trim", a, "-n", "2", "-o", "t.rvq"], ["recover", a, "-o", "r.rvq"]]
    commands += [["models", "list"], ["encode", "absent.wav"], ["encode", a], ["decode", "absent.rvq"], ["decode", a]]
    code = (
        "import sys\nfrom rvqcodec.cli import main\n"
        f"for argv in {[[str(word) for word in words] for words in commands]!r}:\n"
        "    main(argv)\n    assert 'torch' not in sys.modules, argv\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
