"""The entropy network's training: it finds what there is to find, and rounding it costs nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import AudioError, ModelError
from rvqcodec.formats.entropy.frequencies import TOTAL
from rvqcodec.pipeline.tables import load_network
from rvqcodec.training.commands import app
from rvqcodec.training.corpus.corpus import SAMPLE_RATE, Corpus
from rvqcodec.training.release import entropy_release
from rvqcodec.training.release.codes import CODES, INDEX, PIECE_S, CodedPieces, Piece, code_corpus, open_codes, plan
from rvqcodec.training.release.entropy import (
    SHIFT,
    SLOW_STRIDES,
    EntropySettings,
    Predictor,
    joined,
    load_rounded,
    measure_network,
    network_of,
    rounded,
    start_run,
    train_network,
)
from rvqcodec.weights.load import save_model
from rvqcodec.weights.networks import read_network, write_network
from rvqcodec.weights.registry import read_model_file
from rvqcodec.weights.tables import write_tables
from tests.trainers import random_model, recording

SMALL = EntropySettings(steps=200, width=12, hidden=16, n_frames=128, n_layers_a_step=2, batch=4)
SIZES = [16] * 3


def walks(count, n_frames=300):
    """Return codes of 16 entries: a slow walk, its echo in the next layer, and noise."""
    generator = np.random.default_rng(0)
    steps = generator.random((count, n_frames)) < 0.2
    walk = np.cumsum(steps, 1) % 16
    noise = generator.integers(0, 16, (count, n_frames))
    return [np.stack(rows).astype(np.uint16) for rows in zip(walk, (walk + 3) % 16, noise, strict=True)]


@pytest.fixture(scope="module")
def trained():
    codes = walks(10)
    pieces = [
        Piece(package="p", path=str(i), kind="music", split="train" if i < 8 else "valid", start=0, n_frames=300)
        for i in range(10)
    ]
    coded = CodedPieces(tuple(pieces), tuple(codes))
    run = start_run(coded, SIZES, SMALL)
    lines = list(train_network(coded, SIZES, SMALL, run))
    return run, codes[8:], lines


def test_what_can_be_predicted_is(trained):
    run, held_out, lines = trained
    with torch.no_grad():
        bits = [float(run.predictor.bits(joined(held_out, 16)[None].long(), layer)) for layer in range(3)]
    assert bits[0] < 2.5 and bits[1] < 2.0 and bits[2] > 3.9 and "bits per code, held out" in lines[-1]


def test_rounding_costs_nothing_and_files_keep_it(trained, tmp_path):
    run, held_out, _ = trained
    path = tmp_path / "net.safetensors"
    write_network(path, SHIFT, rounded(run.predictor), "0" * 16)
    network = network_of(*read_network(path))
    with torch.no_grad():
        bits = [float(run.predictor.bits(joined(held_out, 16)[None].long(), layer)) for layer in range(3)]
    assert np.allclose(measure_network(network, held_out, 3), bits, atol=0.05)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="can't be read"):
        read_network(path)
    with pytest.raises(ModelError, match="can't be read"):
        read_network(tmp_path / "none.safetensors")


def corpus(lengths):
    generator = np.random.default_rng(1)
    audio, recordings, offset = [], [], 0
    for number, (kind, split, seconds) in enumerate(lengths):
        recordings.append(recording(f"{number}.wav", kind, split, seconds, offset))
        audio.append((generator.standard_normal(recordings[-1].n_samples) * 3000).astype(np.int16))
        offset += recordings[-1].n_samples
    return Corpus(tuple(recordings), dict.fromkeys(("speech", "music", "effects"), np.concatenate(audio)))


def even(*sizes):
    """Return the shares of codes that are all as frequent."""
    return [np.full(size, 1 / size) for size in sizes]


def test_a_shipped_network_can_be_gone_on_from(trained):
    run, held_out, _ = trained
    again = Predictor(even(16, 16, 16), SMALL).eval()
    load_rounded(again, rounded(run.predictor))
    codes = joined(held_out, 16)[None].long()
    with torch.no_grad():
        for layer in range(3):
            assert abs(float(again.bits(codes, layer)) - float(run.predictor.bits(codes, layer))) < 0.02
    with pytest.raises(RuntimeError, match="strides"):
        load_rounded(again, [{**arrays, "strides": np.array([4, 2, 1])} for arrays in rounded(run.predictor)])


def test_a_network_goes_on_with_layers_of_sinusoids_between_its_own(trained):
    """They have codebooks of their own size, and begin as a scale."""
    run, held_out, _ = trained
    settings = replace(SMALL, sinusoid_layers=(1,))
    again = Predictor(even(16, 40, 16, 16), settings).eval()
    load_rounded(again, rounded(run.predictor))
    assert again.layers[1].strides == SLOW_STRIDES and (again.layers[1].embedding.weight[0] == 0).all()
    toned = [np.insert(codes, 1, 0, 0) for codes in held_out]
    codes, without = joined(toned, 40)[None].long(), joined(held_out, 16)[None].long()
    with torch.no_grad():
        for layer, before in ((0, 0), (2, 1), (3, 2)):
            assert abs(float(again.bits(codes, layer)) - float(run.predictor.bits(without, before))) < 0.02
    near = torch.cosine_similarity(*again.layers[1].embedding.weight[[7, 8]], 0)
    far = torch.cosine_similarity(*again.layers[1].embedding.weight[[3, 30]], 0)
    assert near > far


def test_layers_are_learnt_with_their_own_sizes(tmp_path):
    """A gap between pieces is past the largest codebook, and so past each."""
    codes = [np.stack([rows[0], 2 * rows[0] + 1]).astype(np.uint16) for rows in walks(4)]
    pieces = [Piece(package="p", path=str(i), kind="music", split="train", start=0, n_frames=300) for i in range(4)]
    pieces[3] = replace(pieces[3], split="valid")
    coded, settings = CodedPieces(tuple(pieces), tuple(codes)), replace(SMALL, sinusoid_layers=(1,))
    run = start_run(coded, [16, 40], settings)
    list(train_network(coded, [16, 40], settings, run))
    write_network(tmp_path / "n.safetensors", SHIFT, rounded(run.predictor), "0" * 16)
    network = network_of(*read_network(tmp_path / "n.safetensors"))
    assert [len(layer.embedding) for layer in network.layers] == [16, 40]
    assert measure_network(network, codes[3:], 2)[1] < 1.5


def test_pieces_come_held_out_ones_first_and_each_once():
    found = plan(
        corpus([("music", "train", 50), ("speech", "valid", 3), ("effects", "eval", 2), ("speech", "train", 5)])
    )
    assert [(piece.kind, piece.split) for piece, _ in found[:2]] == [("effects", "eval"), ("speech", "valid")]
    places = [(piece.path, piece.start) for piece, _ in found]
    assert len(set(places)) == len(places) == 6 and ("0.wav", 2 * PIECE_S * SAMPLE_RATE) in places


def test_release_writes_the_next_network_and_its_card(monkeypatch, tmp_path):
    small, sounds = random_model(), corpus([("music", "train", 12), ("speech", "valid", 8), ("music", "valid", 8)])
    save_model(small, "tiny", tmp_path / "tiny.safetensors")
    frequencies = [np.full(16, TOTAL // 16, np.uint32)] * 4
    write_tables(tmp_path / "tiny.static.safetensors", frequencies, "tiny", small.fingerprint)
    monkeypatch.setattr(entropy_release, "open_corpus", lambda _: sounds)
    monkeypatch.setattr(entropy_release, "EntropySettings", lambda **_: SMALL)
    codes, model = tmp_path / "codes", str(tmp_path / "tiny.safetensors")
    for number in (1, 2):
        init = ["--init", str(codes / entropy_release.CHECKPOINT)] if number == 2 else []
        done = CliRunner().invoke(app, ["entropy", str(tmp_path), str(codes), "--model", model, *init])
        assert done.exit_code == 0, done.output
        path = tmp_path / f"tiny.network-{number}.safetensors"
        found = read_model_file(tmp_path / "tiny.safetensors")
        assert found.network_paths[-1] == path and len(load_network(path).layers[3].embedding) == 16
        assert "| music | 3 | 4.00 (0.0 %) |" in path.with_suffix(".md").read_text()
    other = Codec(random_model(seed=1), "other")
    with pytest.raises(AudioError, match="codes of another codec"):
        list(code_corpus(other, sounds, codes, 0, 1))


def test_coding_a_corpus_goes_on_where_it_was_cut(tmp_path):
    codec, sounds = Codec(random_model(), "tiny"), corpus([("music", "train", 0.5), ("speech", "valid", 0.2)])
    list(code_corpus(codec, sounds, tmp_path, 0, 1))
    assert len((tmp_path / INDEX).read_text().splitlines()) == 1
    with (tmp_path / CODES).open("ab") as file:
        file.write(b"torn")
    list(code_corpus(codec, sounds, tmp_path, 1, 1))
    coded = open_codes(tmp_path, 4)
    assert [piece.split for piece in coded.pieces] == ["valid", "train"]
    whole = codec.encode(sounds.samples(sounds.recordings[0]).astype(np.float32)[None] / 32768, 4, 1).codes[0]
    assert np.array_equal(coded.of("train")[0], whole) and not coded.of("train", kind="speech")
    with pytest.raises(AudioError, match="holds no codes"):
        open_codes(tmp_path / "none", 4)
