import dataclasses
import json

import pytest
from tiny import tiny_config

from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import CodecConfig, fingerprint


def test_derived_numbers_of_the_default_model():
    config = CodecConfig()
    assert (config.hop_length, config.frame_rate, config.n_bands, config.latent_dim) == (960, 50, 24, 128)
    assert config.encoder_context == 4 + 9 + 1 and config.decoder_context == 5 + 12 + 1


def test_search_runs_to_the_next_stop():
    assert [CodecConfig().search_depth(n) for n in (1, 3, 4, 12, 13, 24)] == [3, 3, 6, 12, 24, 24]


def test_json_inverts_itself():
    for config in (CodecConfig(), tiny_config()):
        assert CodecConfig.from_json(config.to_json()) == config
    assert CodecConfig.from_json("{}") == CodecConfig()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": -48_000}, "a size that isn.t positive"),
        ({"codebook_size": 0}, "a size that isn.t positive"),
        ({"sample_rate": 801}, "whole frames"),
        ({"band_edges": (0, 2, 7)}, "band edges"),
        ({"band_edges": (1, 2, 8)}, "band edges"),
        ({"band_edges": (0, 2, 2, 8)}, "band edges"),
        ({"search_stops": (2, 3)}, "search stops"),
        ({"search_stops": (4, 2, 4)}, "search stops"),
        ({"kernel_size": 4}, "odd"),
        ({"kernel_size": 99}, "context"),
        ({"kernel_size": 1}, "odd and above 1"),
        ({"mdct_size": 0}, "a size that isn.t positive"),
    ],
)
def test_a_configuration_follows_its_rules(changes, message):
    with pytest.raises(ModelError, match=message):
        tiny_config(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read"),
        ("null", "can't be read"),
        ('{"merge": "2"}', "bad value for merge"),
        ('{"merge": true}', "bad value for merge"),
        ('{"merge": 2.0}', "bad value for merge"),
        ('{"band_edges": [0, "x"]}', "bad value for band_edges"),
        ('{"band_edges": []}', "band edges"),
        ('{"level_dbfs": null}', "bad value for level_dbfs"),
        ('{"n_bands": 3}', "unknown key: n_bands"),
    ],
)
def test_json_is_read_strictly(text, message):
    with pytest.raises(ModelError, match=message):
        CodecConfig.from_json(text)


def test_a_fingerprint_follows_codebooks_and_geometry_alone():
    config, books = tiny_config(), bytes(100)
    name = fingerprint(config, books)
    assert len(name) == 16 and int(name, 16) >= 0
    assert fingerprint(tiny_config(decoder_fine_blocks=2, search_stops=(1, 4), window_blocks=1), books) == name
    assert fingerprint(config, bytes(99)) != name
    for changes in ({"level_dbfs": -20.0}, {"sample_rate": 1600}, {"mdct_size": 16, "band_edges": (0, 16)}):
        assert fingerprint(tiny_config(**changes), books) != name


def test_a_configuration_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_config().merge = 3
    assert json.loads(tiny_config().to_json())["merge"] == 2
