"""Structure-aware fuzzing: `python -m tests.hostile.fuzz [CASES] [FIRST SEED]`. Each case is a seed; one that fails joins `SEEDS`.

A golden vector is taken apart, some of its sections or chunk heads are changed, and mostly all checksums are made right again. Then
every way of reading it must give its result or an error of the package, in little time.
"""

import io
import json
import random
import sys
import time
from pathlib import Path

from rvqcodec.errors import FormatError, RvqError
from rvqcodec.formats.entropy.layers import EMPTY_TABLES
from rvqcodec.formats.rvq.recover import recover
from rvqcodec.formats.rvq.sections import CODE, OPTIONAL
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.trim import trim
from rvqcodec.formats.rvq.verify import summarize, verify
from tests.forge import head_length, joined, pieces, resealed
from tests.streams import read_file
from tests.vectors.make_codes import tables_named

TESTS = Path(__file__).parents[1]

SEEDS = ()
"""Cases that failed once."""
LIMIT_S = 10
LISTED = json.loads((TESTS / "vectors" / "codes.json").read_text(encoding="utf-8"))
NAMES = sorted(name for name in LISTED if name.startswith(("modes-", "signal-")))
VALUES = (b"\0", b"\1", b"\x7f", b"\x80\1", b"\xff", b"\xff\xff\x7f", b"\xff\xff\xff\xff\x0f", b"\xff" * 8 + b"\x7f")


def changed_bytes(rng, data):
    """Return bytes with one place changed: a bit, a value that is a limit, some bytes gone or doubled."""
    place, data = rng.randrange(len(data) + 1), bytearray(data)
    kind = rng.randrange(5)
    if kind == 0 and place < len(data):
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[place : place + rng.choice((0, 1, 2))] = rng.choice(VALUES)
    elif kind == 2:
        del data[place : place + rng.choice((1, 2, 30))]
    elif kind == 3:
        data[place:place] = data[place : place + rng.choice((1, 4, 50))]
    elif place < len(data):
        data[place] = rng.randrange(256)
    return bytes(data)


def changed_sections(rng, sections):
    """Return sections with one of them changed, or their order."""
    sections, place = list(sections), rng.randrange(len(sections))
    kind, payload = sections[place]
    what = rng.randrange(10)
    if what == 0:
        del sections[place]
    elif what == 1:
        sections.insert(rng.randrange(len(sections) + 1), sections[place])
    elif what == 2:
        sections.insert(place, (rng.choice((*OPTIONAL, b"zzzz", b"NEW.")), rng.randbytes(rng.randrange(30))))
    elif what < 7 and kind == CODE:
        length = head_length(payload) or len(payload)
        head = changed_bytes(rng, payload[: length - 4])
        sections[place] = (kind, resealed(head + b"crc." + payload[length:], len(head) + 4))
    else:
        sections[place] = (kind, changed_bytes(rng, payload))
    return sections


def case(seed):
    """Return a file, and the tables that it may use."""
    rng = random.Random(seed)
    name = rng.choice(NAMES)
    data, about = (TESTS / "vectors" / f"{name}.rvq").read_bytes(), LISTED[name]
    sizes = RvqReader(io.BytesIO(data)).header.signal.codebook_sizes
    tables = tables_named(about["static"], about["network"], sizes)
    sections = pieces(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        sections = changed_sections(rng, sections) or sections
    data = joined(sections)
    if rng.random() < 0.1:
        data = changed_bytes(rng, data)
    return data, rng.choice((tables, tables, tables, EMPTY_TABLES))


def attempt(action, *arguments, **options):
    """Return whether an action works; only errors of the package may stop it."""
    try:
        action(*arguments, **options)
    except RvqError:
        return False
    return True


def run(seed):
    """Insist that one case is read, refused or repaired as it should be."""
    started = time.process_time()
    data, tables = case(seed)
    whole = attempt(verify, io.BytesIO(data), tables)
    deep = attempt(verify, io.BytesIO(data), tables, deep=True)
    assert whole or not deep, "codes of a damaged file are taken"
    assert attempt(read_file, data, tables) == deep, "reading and verifying disagree"
    told = attempt(summarize, io.BytesIO(data))
    assert told or not whole, "a whole file has no summary"
    target = io.BytesIO()
    if attempt(trim, io.BytesIO(data), target, 2):
        assert attempt(verify, io.BytesIO(target.getvalue()), tables), "a trimmed file is damaged"
    target = io.BytesIO()
    if attempt(recover, data, target, tables):
        try:
            verify(io.BytesIO(target.getvalue()), tables)
        except FormatError as error:
            raise AssertionError(f"a recovered file is damaged: {error.message}") from error
    assert time.process_time() - started < LIMIT_S, "a small file keeps a reader busy"


def main(n_cases, first):
    started = time.monotonic()
    for seed in (*SEEDS, *range(first, first + n_cases)):
        try:
            run(seed)
        except Exception as error:
            print(f"seed {seed}: {type(error).__name__}: {error}")
            raise
    print(f"{n_cases} cases from seed {first}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
