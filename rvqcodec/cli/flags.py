"""The options of the commands, each said once, with its help."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

OUTPUT, RATE, COMPUTE, PART = "Output", "Rate and quality", "Compute", "Part of the file"
FOLDERS, REPORT = "Folders and many files", "Reports"


class Effort(str, enum.Enum):
    """Beam width of the quantizer's search: 1, 4 or 16."""

    FAST = "fast"
    DEFAULT = "default"
    BEST = "best"


class Entropy(str, enum.Enum):
    """Entropy coding of the codes."""

    AUTO = "auto"
    RAW = "raw"
    STATIC = "static"
    COUNTS = "counts"
    NETWORK = "network"


class Engine(str, enum.Enum):
    """What runs the jobs."""

    LOCAL = "local"
    RAY = "ray"


class Bits(str, enum.Enum):
    """Sample formats of decoded audio."""

    S16 = "16"
    S24 = "24"
    S32 = "32"
    F32 = "float"


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IN...", help="Files, folders, URLs (s3://...), or - for standard input.", show_default=False
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", metavar="FILE|DIR", rich_help_panel=OUTPUT, show_default=False,
        help="Where to write: a file, - for standard output, or a folder (several inputs, or a trailing /).",
    ),
]  # fmt: skip
Stdout = Annotated[
    bool, typer.Option("-c", "--stdout", metavar="", rich_help_panel=OUTPUT, help="Write to standard output.")
]
Force = Annotated[
    bool, typer.Option("-f", "--force", metavar="", rich_help_panel=OUTPUT, help="Replace outputs that exist.")
]
Remove = Annotated[
    bool,
    typer.Option(
        "--rm", metavar="", rich_help_panel=OUTPUT, help="Remove each input once its output was read back and checked."
    ),
]
NoTags = Annotated[
    bool,
    typer.Option("--no-tags", metavar="", rich_help_panel=OUTPUT, help="Don't copy title, artist and other tags."),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda[:N]|mps", rich_help_panel=COMPUTE,
        help="Where the model runs; auto takes CUDA if there is one, else the CPU. A GPU batches windows of several "
        "files, and its rounding may change single codes from run to run.",
    ),
]  # fmt: skip
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, rich_help_panel=COMPUTE, show_default="all cores",
        help="Windows of a file coded in parallel; the output doesn't depend on it.",
    ),
]  # fmt: skip
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME|FILE", rich_help_panel=RATE, show_default=False,
        help="A model's name (rvq models list), or the path of a .safetensors file; its entropy tables lie beside it.",
    ),
]  # fmt: skip
Quiet = Annotated[
    int,
    typer.Option(
        "-q", "--quiet", count=True, metavar="", rich_help_panel=REPORT, show_default=False,
        help="No progress; -qq: errors only.",
    ),
]  # fmt: skip
Verbose = Annotated[bool, typer.Option("-v", "--verbose", metavar="", rich_help_panel=REPORT, help="Verbose output.")]
Json = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", rich_help_panel=REPORT, help="Print one JSON object per file on standard output."
    ),
]
NoProgress = Annotated[bool, typer.Option("--no-progress", metavar="", rich_help_panel=REPORT, help="No progress bar.")]
Debug = Annotated[
    bool, typer.Option("--debug", metavar="", rich_help_panel=REPORT, help="Show the traceback of an error.")
]
Layers = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--layers",
        metavar="N",
        rich_help_panel=RATE,
        show_default="the model's",
        help="Quantizer layers to code; easy frames use fewer (variable rate).",
    ),
]
Bitrate = Annotated[
    float | None,
    typer.Option(
        "-b",
        "--bitrate",
        metavar="KBPS",
        rich_help_panel=RATE,
        show_default=False,
        help="Nominal (highest) bitrate of all channels together, rounded to whole layers; files are smaller.",
    ),
]
Search = Annotated[
    Effort, typer.Option("--effort", rich_help_panel=RATE, help="Effort of the quantizer's beam search.")
]
Coding = Annotated[
    Entropy,
    typer.Option("--entropy", rich_help_panel=RATE, help="Entropy coding; auto takes the smallest, layer by layer."),
]
Chunk = Annotated[
    int,
    typer.Option(
        "--chunk",
        metavar="SECONDS",
        rich_help_panel=OUTPUT,
        help="Length of a chunk, the unit of seeking; the codes don't depend on it.",
    ),
]
Start = Annotated[
    str,
    typer.Option(
        "--start",
        metavar="TIME",
        rich_help_panel=PART,
        help="Start of the part to decode: seconds, MM:SS.mmm, HH:MM:SS or samples (44100s).",
    ),
]
Duration = Annotated[
    str | None,
    typer.Option("--duration", metavar="TIME", rich_help_panel=PART, show_default=False, help="Length to decode."),
]
End = Annotated[
    str | None,
    typer.Option("--end", metavar="TIME", rich_help_panel=PART, show_default=False, help="End of the part to decode."),
]
SampleBits = Annotated[
    Bits | None,
    typer.Option(
        "--bits", rich_help_panel=OUTPUT, show_default="the source's, at least 16", help="Sample format of the audio."
    ),
]
Rate = Annotated[
    int | None,
    typer.Option(
        "--rate",
        metavar="HZ",
        min=1000,
        max=768_000,
        rich_help_panel=OUTPUT,
        show_default="the source's",
        help="Sample rate of the audio.",
    ),
]
Recursive = Annotated[
    bool, typer.Option("-r", "--recursive", metavar="", rich_help_panel=FOLDERS, help="Descend into folders.")
]
Extensions = Annotated[
    str | None,
    typer.Option(
        "--ext",
        metavar="EXT,...",
        rich_help_panel=FOLDERS,
        show_default="all kinds of input",
        help="Extensions of the files that folders are searched for.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        rich_help_panel=FOLDERS,
        show_default=False,
        help="Names, or paths below the folder, to skip, such as '*.tmp.wav' or 'old/*'; may be repeated.",
    ),
]
Filelist = Annotated[
    str | None,
    typer.Option(
        "--filelist",
        metavar="FILE|-",
        rich_help_panel=FOLDERS,
        show_default=False,
        help="Read the inputs' names from a file: one per line, or separated by zero bytes.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar="",
        rich_help_panel=FOLDERS,
        help="Skip outputs that are whole and made from this input with these settings; redo the others.",
    ),
]
JobCount = Annotated[
    int | None,
    typer.Option(
        "-j", "--jobs", metavar="N", min=1, rich_help_panel=FOLDERS, show_default="one per core, 8 on a GPU; 1 for little work",
        help="Files processed in parallel; the outputs don't depend on it.",
    ),
]  # fmt: skip
RunBy = Annotated[
    Engine,
    typer.Option(
        "--engine", rich_help_panel=FOLDERS,
        help="local: processes on this machine; ray: all machines of a Ray cluster, which must see the same files.",
    ),
]  # fmt: skip
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address", metavar="HOST:PORT", rich_help_panel=FOLDERS, show_default="this machine's cluster",
        help="The cluster for --engine ray; ray://HOST:PORT reaches one from outside.",
    ),
]  # fmt: skip
FailFast = Annotated[
    bool,
    typer.Option(
        "--fail-fast", metavar="", rich_help_panel=FOLDERS, help="Stop at the first failure instead of going on."
    ),
]
ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report", metavar="FILE.csv|.json", rich_help_panel=REPORT, show_default=False,
        help="Write the outcome of each file to a table or to JSON.",
    ),
]  # fmt: skip
TablesOf = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME|FILE", rich_help_panel=COMPUTE, show_default=False,
        help="A model whose entropy tables are used too; needed where the file's own aren't installed.",
    ),
]  # fmt: skip
Deep = Annotated[bool, typer.Option("--deep", metavar="", help="Decode all codes too; needs entropy tables, no model.")]
Kept = Annotated[int, typer.Option("-n", "--layers", metavar="N", min=1, help="Layers to keep.")]
