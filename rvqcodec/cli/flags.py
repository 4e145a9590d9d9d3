"""The options that several commands share: each is said once, with its help."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

OUTPUT, RATE, COMPUTE, PART = "Output", "Rate and quality", "Compute", "Part of the file"
FOLDERS, REPORT = "Folders and many files", "Reports"


class Effort(str, enum.Enum):
    """How many candidates the quantizer's search keeps: 1, 4 or 16."""

    FAST = "fast"
    DEFAULT = "default"
    BEST = "best"


class Entropy(str, enum.Enum):
    """How codes become bytes."""

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


Names = Annotated[
    list[str], typer.Argument(metavar="IN...", help="Files, or - for standard input.", show_default=False)
]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IN...", help="Files, folders, URLs (s3://...), or - for standard input.", show_default=False
    ),
]
Files = Annotated[list[str], typer.Argument(metavar="FILE...", help=".rvq files.", show_default=False)]
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
    typer.Option("--rm", metavar="", rich_help_panel=OUTPUT, help="Remove an input once its output was checked."),
]
NoTags = Annotated[
    bool,
    typer.Option("--no-tags", metavar="", rich_help_panel=OUTPUT, help="Leave title, artist and the like behind."),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda[:N]|mps", rich_help_panel=COMPUTE,
        help="Where the model runs; auto takes CUDA where there is one, else the CPU. A GPU runs windows of several "
        "files as one batch, whose rounding may change single codes from run to run.",
    ),
]  # fmt: skip
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, rich_help_panel=COMPUTE, show_default="all cores",
        help="Windows worked on side by side; changes no byte.",
    ),
]  # fmt: skip
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", rich_help_panel=RATE, show_default=False,
        help="A model's name (rvq models list) or the path of a .safetensors file.",
    ),
]  # fmt: skip
Quiet = Annotated[
    int,
    typer.Option(
        "-q", "--quiet", count=True, metavar="", rich_help_panel=REPORT, show_default=False,
        help="No progress; -qq: errors only.",
    ),
]  # fmt: skip
Verbose = Annotated[bool, typer.Option("-v", "--verbose", metavar="", rich_help_panel=REPORT, help="Tell more.")]
Json = Annotated[
    bool,
    typer.Option("--json", metavar="", rich_help_panel=REPORT, help="One JSON object a file on standard output."),
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
        show_default="the model's: 12 of rvq48",
        help="Layers to code; easy frames use fewer.",
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
Search = Annotated[Effort, typer.Option("--effort", rich_help_panel=RATE, help="Time spent on the search for codes.")]
Coding = Annotated[
    Entropy, typer.Option("--entropy", rich_help_panel=RATE, help="How codes become bytes; auto takes the smallest.")
]
Chunk = Annotated[
    int,
    typer.Option("--chunk", metavar="SECONDS", rich_help_panel=OUTPUT, help="Length of a chunk; changes no code."),
]
Start = Annotated[
    str,
    typer.Option(
        "--start",
        metavar="TIME",
        rich_help_panel=PART,
        help="Where to begin: seconds, MM:SS.mmm, HH:MM:SS or samples (44100s).",
    ),
]
Duration = Annotated[
    str | None,
    typer.Option("--duration", metavar="TIME", rich_help_panel=PART, show_default=False, help="How much."),
]
End = Annotated[
    str | None,
    typer.Option("--end", metavar="TIME", rich_help_panel=PART, show_default=False, help="Where to stop."),
]
SampleBits = Annotated[
    Bits | None,
    typer.Option("--bits", rich_help_panel=OUTPUT, show_default="the source's, at least 16", help="Sample format."),
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
        help="Sample rate.",
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
        help="Names, or paths below the folder, to pass over, such as '*.tmp.wav' or 'old/*'; may be repeated.",
    ),
]
Filelist = Annotated[
    str | None,
    typer.Option(
        "--filelist",
        metavar="FILE|-",
        rich_help_panel=FOLDERS,
        show_default=False,
        help="Inputs from a file: one a line, or parted by zero bytes.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar="",
        rich_help_panel=FOLDERS,
        help="Pass over outputs that are whole and made from this input with these settings; redo the others.",
    ),
]
JobCount = Annotated[
    int | None,
    typer.Option(
        "-j", "--jobs", metavar="N", min=1, rich_help_panel=FOLDERS, show_default="one for each core, 8 on a GPU",
        help="Files worked on side by side; changes no byte.",
    ),
]  # fmt: skip
RunBy = Annotated[
    Engine,
    typer.Option(
        "--engine", rich_help_panel=FOLDERS,
        help="local: processes of this machine; ray: all machines of a Ray cluster, which see the same files.",
    ),
]  # fmt: skip
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address", metavar="HOST:PORT", rich_help_panel=FOLDERS, show_default="this machine's cluster",
        help="The Ray cluster for --engine ray; ray://HOST:PORT reaches one from outside.",
    ),
]  # fmt: skip
FailFast = Annotated[
    bool,
    typer.Option(
        "--fail-fast", metavar="", rich_help_panel=FOLDERS, help="Stop at the first failure, instead of going on."
    ),
]
ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report", metavar="FILE.csv|.json", rich_help_panel=REPORT, show_default=False,
        help="Write what came of each file there.",
    ),
]  # fmt: skip
