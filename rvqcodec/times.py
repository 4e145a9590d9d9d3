"""Parsing and formatting of times: seconds, MM:SS.mmm, HH:MM:SS, or a number of samples; bitrates."""

from __future__ import annotations

import re
from fractions import Fraction

CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")


def format_time(seconds: float) -> str:
    """Return seconds as M:SS.s, or as H:MM:SS from one hour up."""
    if round(seconds * 10) >= 36_000:
        whole = round(seconds)
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def kbps(n_bytes: float, seconds: float) -> float:
    """Return what so many bytes in so many seconds are as a bitrate in kbps; 0 where there is no time."""
    return 8 * n_bytes / seconds / 1000 if seconds else 0.0


def parse_time(time: str | float, sample_rate: int) -> int:
    """Return a time as a number of samples, rounded.

    Args:
        time: Seconds, or text: "90", "1:30.5", "1:02:03", or samples as "44100s".
        sample_rate: Of the audio that the time is in, Hz.

    Raises:
        ValueError: It is none of these.
    """
    if not isinstance(time, str):
        if not 0 <= time < float("inf"):
            raise ValueError(f"{time} is not a time: expected seconds, 0 or more")
        return round(Fraction(time) * sample_rate)
    if re.fullmatch(r"\d+s", time):
        return int(time[:-1])
    match = CLOCK.fullmatch(time)
    if not match:
        raise ValueError(f"{time!r} is not a time: expected seconds (90.5), MM:SS.mmm, HH:MM:SS or samples (44100s)")
    hours, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    return round((hours * 3600 + minutes * 60 + seconds) * sample_rate)
