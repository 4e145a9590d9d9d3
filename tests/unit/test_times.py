import pytest

from rvqcodec.times import format_time, parse_time


@pytest.mark.parametrize(
    ("text", "n_samples"),
    [
        ("0", 0),
        ("90", 90_000),
        ("90.5", 90_500),
        (".5", 500),
        ("1.", 1000),
        ("1:30.25", 90_250),
        ("01:02:03", 3_723_000),
        ("1:02:03.001", 3_723_001),
        ("44100s", 44_100),
        ("0.0004", 0),
        ("0.0006", 1),
    ],
)
def test_times_are_samples(text, n_samples):
    assert parse_time(text, 1000) == n_samples


@pytest.mark.parametrize("text", ["", "-1", "1:2:3:4", "1m", "1e3", "nan", "inf", "1.5s", ":", "1:", " 1", "1 s"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text, 1000)


def test_no_digit_is_lost():
    assert parse_time("99999.99998", 768_000) == 76_799_999_985


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00.0"),
        (9.96, "0:10.0"),
        (59.94, "0:59.9"),
        (59.96, "1:00.0"),
        (754.3, "12:34.3"),
        (3600, "1:00:00"),
        (86_399.6, "24:00:00"),
    ],
)
def test_times_are_written(seconds, text):
    assert format_time(seconds) == text
