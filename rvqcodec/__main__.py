"""`python -m rvqcodec` is `rvq`."""

import sys

from rvqcodec.cli import main

if __name__ == "__main__":
    sys.exit(main())
