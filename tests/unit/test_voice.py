"""The measures of `benchmarks.voice` that are ours find what is put in, and its tables say what its rows say."""

import math

import numpy as np
import pytest
import soundfile

from benchmarks.voice.audio import RATE, decoded_file, list_clips, read_wave
from benchmarks.voice.decode import mean_kbps
from benchmarks.voice.harmonics import BANDS_HZ, depths, find_pitch, fit_pitch
from benchmarks.voice.rows import COLUMNS, Row, append_row, read_rows, write_rows
from benchmarks.voice.tables import report
from benchmarks.voice.texture import comb_pattern, flatness_db, static_comb_db


def noise(seconds=2.0, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(RATE * seconds))).astype(np.float32)


def voice(hz=150, seconds=2.0):
    """Partials of one height up to 5 kHz."""
    t = np.arange(int(RATE * seconds)) / RATE
    partials = sum(np.cos(2 * np.pi * k * hz * t + k * k) for k in range(1, int(5000 / hz)))
    return (0.02 * partials).astype(np.float32)


@pytest.mark.parametrize("hz", [90, 150, 333])
def test_the_pitch_of_partials_is_found_and_noise_has_none(hz):
    found = fit_pitch(voice(hz), find_pitch(voice(hz)))
    assert np.isfinite(found.hz).mean() > 0.9 and np.nanmedian(found.hz) == pytest.approx(hz, rel=0.005)
    assert np.isfinite(find_pitch(noise()).hz).mean() < 0.2
    assert len(find_pitch(np.zeros(100, np.float32))) == 0


def test_noise_fills_the_valleys_between_partials():
    pitch = fit_pitch(voice(), find_pitch(voice()))
    clear, hoarse, lost = (depths(wave, pitch) for wave in (voice(), voice() + 0.3 * noise(), noise()))
    assert len(clear) == len(BANDS_HZ) and (clear > 35).all() and (clear > hoarse + 10).all()
    assert (hoarse > 5).all() and np.abs(lost).max() < 1


def test_a_pitch_that_is_off_is_forgiven_at_its_own():
    decoded, pitch = voice(155), fit_pitch(voice(), find_pitch(voice()))
    own = fit_pitch(decoded, find_pitch(decoded))
    assert (depths(decoded, own) > depths(decoded, pitch) + 10)[1:].all()


def test_flatness_is_high_in_noise_and_low_in_tones():
    assert flatness_db(noise()) == pytest.approx(-2.5, abs=0.2)
    assert flatness_db(voice()) < -20
    assert math.isnan(flatness_db(np.zeros(100, np.float32)))


def test_lines_that_stand_in_all_clips_are_a_static_comb():
    t = np.arange(2 * RATE) / RATE
    lines = sum(np.cos(2 * np.pi * hz * t + hz) for hz in range(7500, 15_000, 250)).astype(np.float32)
    plain, combed = ([noise(seed=seed) + gain * lines for seed in range(6)] for gain in (0.0, 0.006))
    weak, strong = (static_comb_db([comb_pattern(wave) for wave in waves]) for waves in (plain, combed))
    assert weak < 0.3 < 2 * weak < strong
    assert comb_pattern(voice()) is None, "nothing up there"
    assert math.isnan(static_comb_db([]))


def row(system, clip, kind="speech", **scores):
    return Row(system=system, kind=kind, clip=clip, seconds=4.0, bytes=2000, scores=scores)


def test_rows_survive_a_file_and_an_interruption(tmp_path):
    path, rows = tmp_path / "scores.csv", [row("a", "x", nisqa=3.25), row("a", "y", pesq_wb=2.0)]
    assert read_rows(path) == []
    write_rows(path, rows[:1])
    append_row(path, rows[1])
    assert read_rows(path) == rows
    path.write_text(path.read_text() + "a,speech,z,4")
    assert [found.clip for found in read_rows(path)] == ["x", "y"]
    assert path.read_text().split("\n")[0] == ",".join(COLUMNS)


def test_the_report_has_means_bitrates_and_paired_differences():
    rows = [
        row(name, f"c{n}", nisqa=base + n, comb_300=20.0) for name, base in (("a", 1.0), ("b", 1.5)) for n in range(8)
    ]
    rows.append(row("a", "m", "music", zimtohrli=3.0))
    text = report(rows, {("speech", "a"): 0.05}, [("b", "a")])
    assert "| a | 8 | 4.00 | 4.50 |" in text and "| 20.0 /  /  /  |" in text and "| 0.05 |" in text
    assert "| speech | NISQA | 8 | +0.500 | +0.500 to +0.500 | clear |" in text
    assert "| speech | comb 300 to 1000 Hz | 8 | +0.00 | +0.00 to +0.00 |  |" in text
    assert "## music" in text and "| music | Zimtohrli" not in text, "b has no music"


def test_clips_and_what_was_decoded_of_them_are_found_by_name(tmp_path):
    for folder in ("clips", "system"):
        (tmp_path / folder / "speech").mkdir(parents=True)
    soundfile.write(tmp_path / "clips/speech/a.wav", noise(0.1), RATE, "FLOAT")
    soundfile.write(tmp_path / "system/speech/a.flac", np.stack([noise(0.1)] * 2, 1), RATE // 2, "PCM_16")
    (clip,) = list_clips(tmp_path / "clips")
    assert np.array_equal(read_wave(clip.path), noise(0.1))
    assert len(read_wave(decoded_file(tmp_path / "system", clip))) == 2 * len(noise(0.1))
    assert decoded_file(tmp_path / "other", clip) is None
    with pytest.raises(SystemExit, match="has no"):
        list_clips(tmp_path / "other")
    assert mean_kbps([{"bytes": 1000, "seconds": 2.0}, {"bytes": 3000, "seconds": 2.0}]) == 8.0
