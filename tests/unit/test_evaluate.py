"""What `benchmarks.evaluate` computes from its rows: intervals, tables, the CSV file, lags."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.bootstrap import paired_bootstrap
from benchmarks.evaluate import card as cards
from benchmarks.evaluate import coders, tables
from benchmarks.evaluate import rows as files
from benchmarks.evaluate.rows import Row


@pytest.fixture
def rows():
    made = []
    for codec, setting, quality in (("one", 6, 3.0), ("two", 6, 3.5), ("opus", 12, 2.0)):
        common = {
            "kind": "music",
            "codec": codec,
            "setting": setting,
            "seconds": 10.0,
            "encode_s": 0.5,
            "decode_s": 0.1,
        }
        made.append(Row(clip="all", bytes=2500, kbps=2.0, **common))
        for n in range(10):
            scores = {"visqol": quality + 0.01 * n, "zimtohrli": 3.0, "mel_distance": 0.2, "si_sdr_db": -1.0}
            made.append(Row(clip=f"c{n}", bytes=5000, kbps=4.0, **common, **scores))
    return made


def test_bootstrap_gives_mean_and_interval_of_pairs():
    generator = np.random.default_rng(1)
    base, noise = generator.normal(0, 10, 100), generator.normal(0.5, 1, 100)
    found = paired_bootstrap(base + noise, base)
    assert found.value == pytest.approx(noise.mean()) and found.n == 100 and found.is_clear
    assert found.high - found.low == pytest.approx(2 * 1.96 * noise.std() / 10, rel=0.1), (
        "pairing takes the clips' spread out"
    )
    assert found == paired_bootstrap(base + noise, base), "the same each time"
    assert paired_bootstrap([1, 2, 9], [0, 0, 0], "median").value == 2
    assert paired_bootstrap([1, math.nan, 3], [0, 0, math.nan]).n == 1
    assert math.isnan(paired_bootstrap([], []).value) and not paired_bootstrap([], []).is_clear
    assert not paired_bootstrap([1, 1], [0, 0]).is_clear, "two clips prove nothing"
    with pytest.raises(ValueError, match="zip"):
        paired_bootstrap([1], [1, 2])
    with pytest.raises(ValueError, match="neither mean nor median"):
        paired_bootstrap([1], [1], "mode")


def test_pairs_are_by_clip(rows):
    found = tables.compare(rows[::-1], "music", "visqol", ("two", 6), ("one", 6))
    assert (found.n, found.value, found.low) == (10, pytest.approx(0.5), pytest.approx(0.5))
    missing = [row for row in rows if (row.codec, row.clip) != ("one", "c3")]
    assert tables.compare(missing, "music", "visqol", ("two", 6), ("one", 6)).n == 9


def test_report_has_medians_speeds_and_differences(rows):
    rows = files.with_long_kbps(rows)
    text = tables.report(rows, "title")
    assert "| music | one | 6 | 10 | 4.00 | 2.00 | 3.045 | 3.000 |  |  | 0.200 | -1.000 | 3.000 | 20 | 100 |" in text
    assert "| music | ViSQOL | two, 6 layers | one, 6 layers | 10 | +0.500 | +0.500 to +0.500 |" in text
    assert "| music | ViSQOL | one, 6 layers | opus, 12 kbps | 10 | +1.000 |" in text
    assert "| music | PESQ-WB |" not in text, "nothing measured, nothing compared"


def test_rows_survive_a_file_and_an_interruption(rows, tmp_path):
    path = tmp_path / "scores.csv"
    assert files.read_rows(path) == []
    files.write_rows(path, rows[:2])
    files.append_row(path, rows[2])
    found = files.read_rows(path)
    assert [row.key for row in found] == [row.key for row in rows[:3]]
    assert found[1] == replace(rows[1], kbps_long=found[1].kbps_long, pesq_wb=found[1].pesq_wb, stoi=found[1].stoi)
    assert math.isnan(found[1].pesq_wb)
    path.write_text(path.read_text() + "c9,music,one")
    assert len(files.read_rows(path)) == 3
    assert [row.kbps_long for row in files.with_long_kbps(found)] == [2.0] * 3


def test_a_late_wave_is_found_and_put_in_place():
    wave = np.random.default_rng(0).standard_normal(48_000)
    late = np.concatenate([np.zeros(1105), wave])
    assert coders.lag_of(wave, late) == 1105 and coders.lag_of(late, wave) == -1105 and coders.lag_of(wave, wave) == 0
    assert np.array_equal(coders.shifted(late, 1105, 48_000), wave)
    assert np.array_equal(coders.shifted(wave, -1105, 49_105), late)
    assert len(coders.shifted(wave, 0, 50_000)) == 50_000


def test_a_figure_is_drawn_of_what_was_measured(rows, tmp_path):
    pytest.importorskip("matplotlib", reason="curves need the extra eval")
    from benchmarks.evaluate.curves import draw

    paths = draw(rows, tmp_path)
    assert [path.name for path in paths] == ["visqol.png", "zimtohrli.png", "mel_distance.png"]
    assert all(1000 < path.stat().st_size < 100_000 for path in paths)


def test_a_card_gets_the_medians_of_its_model(rows, tmp_path):
    card, scores = tmp_path / "one.md", tmp_path / "scores.csv"
    card.write_text("# one\n\n## Quality\n\nold\n\nolder\n\nStatic tables: some.\n\n## More\n")
    files.write_rows(scores, files.with_long_kbps(rows))
    for _ in range(2):
        cards.update_card(card, scores, "one")
        text = card.read_text()
        assert "old" not in text.replace("held-out", "") and text.startswith("# one\n\n## Quality\n\n10 held-out clips")
        assert "| 6 |  |  |  |  |  | 2.00 | 3.04 | 3.00 |  |  |  |" in text and text.endswith(
            "\n\nStatic tables: some.\n\n## More\n"
        )
    with pytest.raises(ValueError, match="no rows of three"):
        cards.update_card(card, scores, "three")
