"""The options of the commands, each defined once, with its help."""

from __future__ import annotations

import enum
from typing import Annotated, Any

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


def _switch(panel: str | None, help: str, *names: str) -> Any:
    """Return a flag without a value."""
    return typer.Option(*names, metavar="", rich_help_panel=panel, help=help)


def _value(
    panel: str | None,
    help: str,
    *names: str,
    metavar: str | None = None,
    default: str | bool = False,
    least: int | None = None,
    most: int | None = None,
) -> Any:
    """Return an option with a value; `default` is what help says of its absence."""
    return typer.Option(
        *names, metavar=metavar, rich_help_panel=panel, help=help, show_default=default, min=least, max=most
    )


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IN...", help="Files, folders, URLs (s3://...), or - for standard input.", show_default=False
    ),
]

OUT_HELP = "Where to write: a file, - for standard output, or a folder (several inputs, or a trailing /)."
Out = Annotated[str | None, _value(OUTPUT, OUT_HELP, "-o", "--output", metavar="FILE|DIR")]
Stdout = Annotated[bool, _switch(OUTPUT, "Write to standard output.", "-c", "--stdout")]
Force = Annotated[bool, _switch(OUTPUT, "Replace outputs that exist.", "-f", "--force")]
Remove = Annotated[bool, _switch(OUTPUT, "Remove each input once its output was read back and checked.", "--rm")]
NoTags = Annotated[bool, _switch(OUTPUT, "Don't copy title, artist and other tags.", "--no-tags")]
CHUNK_HELP = "Length of a chunk, the unit of seeking; the codes don't depend on it."
Chunk = Annotated[int, _value(OUTPUT, CHUNK_HELP, "--chunk", metavar="SECONDS", default=True)]
SampleBits = Annotated[
    Bits | None, _value(OUTPUT, "Sample format of the audio.", "--bits", default="the source's, at least 16")
]
RATE_HELP = "Sample rate of the audio."
Rate = Annotated[
    int | None,
    _value(OUTPUT, RATE_HELP, "--rate", metavar="HZ", default="the source's", least=1000, most=768_000),
]

LAYERS_HELP = "Quantizer layers to code; easy frames use fewer (variable rate)."
Layers = Annotated[int | None, _value(RATE, LAYERS_HELP, "-n", "--layers", metavar="N", default="the model's")]
BITRATE_HELP = "Nominal bitrate of all channels together, to the nearest whole layer; files are usually smaller."
Bitrate = Annotated[float | None, _value(RATE, BITRATE_HELP, "-b", "--bitrate", metavar="KBPS")]
Search = Annotated[Effort, _value(RATE, "Effort of the quantizer's beam search.", "--effort", default=True)]
CODING_HELP = "Entropy coding; auto selects the smallest, layer by layer."
Coding = Annotated[Entropy, _value(RATE, CODING_HELP, "--entropy", default=True)]
MODEL_HELP = "A model's name (rvq models list), or the path of a .safetensors file, with its entropy tables beside it."
Model = Annotated[str | None, _value(RATE, MODEL_HELP, "--model", metavar="NAME|FILE")]
Kept = Annotated[int, typer.Option("-n", "--layers", metavar="N", min=1, help="Layers to keep.")]

DEVICE_HELP = (
    "Where the model runs; auto selects CUDA if available, else the CPU. A GPU batches windows of several files, and "
    "its rounding may change single codes from run to run."
)
Device = Annotated[str, _value(COMPUTE, DEVICE_HELP, "--device", metavar="auto|cpu|cuda[:N]|mps", default=True)]
THREADS_HELP = "Windows of a file coded in parallel; the output doesn't depend on it."
Threads = Annotated[int | None, _value(COMPUTE, THREADS_HELP, "--threads", metavar="N", default="all cores", least=1)]
TABLES_HELP = "A model whose entropy tables are used too; needed where the file's own aren't installed."
TablesOf = Annotated[str | None, _value(COMPUTE, TABLES_HELP, "--model", metavar="NAME|FILE")]
Deep = Annotated[bool, _switch(None, "Decode all codes too; needs entropy tables, no model.", "--deep")]

START_HELP = "Start of the part to decode: seconds, MM:SS.mmm, HH:MM:SS or samples (44100s)."
Start = Annotated[str, _value(PART, START_HELP, "--start", metavar="TIME", default=True)]
Duration = Annotated[str | None, _value(PART, "Length to decode.", "--duration", metavar="TIME")]
End = Annotated[str | None, _value(PART, "End of the part to decode.", "--end", metavar="TIME")]

Recursive = Annotated[bool, _switch(FOLDERS, "Descend into folders.", "-r", "--recursive")]
EXTENSIONS_HELP = "Extensions of the files that folders are searched for."
Extensions = Annotated[
    str | None, _value(FOLDERS, EXTENSIONS_HELP, "--ext", metavar="EXT,...", default="all kinds of input")
]
EXCLUDE_HELP = "Names, or paths below the folder, to skip, such as '*.tmp.wav' or 'old/*'; may be repeated."
Exclude = Annotated[list[str] | None, _value(FOLDERS, EXCLUDE_HELP, "--exclude", metavar="PATTERN")]
FILELIST_HELP = "Read input names from a file: one per line, or NUL-separated."
Filelist = Annotated[str | None, _value(FOLDERS, FILELIST_HELP, "--filelist", metavar="FILE|-")]
RESUME_HELP = "Skip outputs that are complete and made from this input with these settings; redo the others."
Resume = Annotated[bool, _switch(FOLDERS, RESUME_HELP, "--resume")]
JOBS_HELP = "Files processed in parallel; the outputs don't depend on it."
JOBS_DEFAULT = "one per core, 8 on a GPU; 1 for little work"
JobCount = Annotated[int | None, _value(FOLDERS, JOBS_HELP, "-j", "--jobs", metavar="N", default=JOBS_DEFAULT, least=1)]
ENGINE_HELP = "local: processes on this machine; ray: all machines of a Ray cluster, which must see the same files."
RunBy = Annotated[Engine, _value(FOLDERS, ENGINE_HELP, "--engine", default=True)]
RAY_HELP = "The cluster for --engine ray; ray://HOST:PORT reaches one from outside."
RayAddress = Annotated[
    str | None, _value(FOLDERS, RAY_HELP, "--ray-address", metavar="HOST:PORT", default="this machine's cluster")
]
FailFast = Annotated[bool, _switch(FOLDERS, "Stop at the first failure instead of going on.", "--fail-fast")]

REPORT_HELP = "Write the outcome of each file to a table or to JSON."
ReportFile = Annotated[str | None, _value(REPORT, REPORT_HELP, "--report", metavar="FILE.csv|.json")]
Quiet = Annotated[
    int,
    typer.Option(
        "-q", "--quiet", count=True, metavar="", rich_help_panel=REPORT, show_default=False,
        help="No progress; -qq: errors only.",
    ),
]  # fmt: skip
Verbose = Annotated[bool, _switch(REPORT, "Verbose output.", "-v", "--verbose")]
Json = Annotated[bool, _switch(REPORT, "Print one JSON object per file on standard output.", "--json")]
NoProgress = Annotated[bool, _switch(REPORT, "No progress bar.", "--no-progress")]
Debug = Annotated[bool, _switch(REPORT, "Show the traceback of an error.", "--debug")]
