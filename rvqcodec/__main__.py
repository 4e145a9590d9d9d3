"""`python -m rvqcodec` is `rvq`."""

from rvqcodec.cli import command

if __name__ == "__main__":
    command()
