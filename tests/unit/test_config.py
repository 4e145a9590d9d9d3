import dataclasses
import json

import pytest

from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.decoder import Decoder
from rvqcodec.models.rvq48.pitch import PitchAnalyser
from rvqcodec.signal import LayerGroup
from tests.tiny import small_config, tiny_config


def test_derived_numbers_of_the_default_model():
    config = Rvq48Config()
    assert (config.hop_length, config.frame_rate, config.n_bands, config.latent_dim) == (960, 50, 24, 128)
    assert config.pitch_receptive_field == 3
    assert config.encoder_context == 4 + 9 + 1 > 10 + 3
    assert config.decoder_context == (5 + 12) + 1 + 3 + 3 + 1 + 4


@pytest.mark.parametrize("config", [Rvq48Config(), tiny_config(), small_config(postfilter_blocks=3)], ids=str)
def test_the_decoder_context_is_the_sum_of_the_reaches(config):
    """The network, the transform's overlap, the pitch analysis, then each step; sinusoids look by themselves."""
    network = config.receptive_field(config.decoder_fine_blocks, config.decoder_coarse_blocks + 1)
    decoder = Decoder(config, PitchAnalyser(config))
    steps = [step.reach for step in decoder.enhance if step is not decoder.sinusoids]
    assert len(steps) == len(decoder.enhance) - 1
    assert config.decoder_context == network + 1 + config.pitch_receptive_field + sum(steps)


def test_sinusoids_widen_both_contexts():
    plain, config = small_config(), small_config(sinusoid_layers=(1,))
    reach = Decoder(config, PitchAnalyser(config)).sinusoids.reach
    assert config.decoder_context == max(plain.decoder_context, reach) == reach
    assert config.encoder_context == plain.encoder_context + 4


def test_search_runs_to_the_next_stop():
    assert [Rvq48Config().search_depth(n) for n in (1, 3, 4, 12, 13, 24)] == [3, 3, 6, 12, 24, 24]


def test_layers_of_one_kind_are_a_group():
    assert tiny_config().groups == (LayerGroup(n_layers=4, codebook_size=16),)
    config = small_config(sinusoid_layers=(1, 2))
    assert config.groups == (
        LayerGroup(n_layers=1, codebook_size=16),
        LayerGroup(n_layers=2, codebook_size=256, kind="sinusoid"),
        LayerGroup(n_layers=3, codebook_size=16),
    )
    assert config.n_layers == 6 and [config.n_vector_layers(n) for n in range(7)] == [0, 1, 1, 1, 2, 3, 4]


def test_traits_say_what_the_configuration_does():
    config = tiny_config()
    traits = config.traits()
    assert (traits.sample_rate, traits.hop_length, traits.frames_per_block) == (8000, 160, 50)
    assert traits.block_step == traits.block_size == 8000 and traits.n_layers == 4 and not traits.stateful
    assert traits.encoder_context == (config.encoder_context,) * 2
    assert traits.decoder_context == (config.decoder_context,) * 2
    assert (traits.levels, traits.level_dbfs, traits.edges) == ("rms", -22.0, "symmetric")
    assert tiny_config(default_layers=12).traits().default_layers == 4


def test_frequencies_become_numbers_of_coefficients():
    config = Rvq48Config()
    assert config.bins_below(2_625) == 35
    assert config.edge_from(3_000) == 42 and config.edge_from(3_750) == 50 and config.edge_from(24_001) == 320
    assert tiny_config().edge_from(3_750) == 75


def test_json_inverts_itself():
    for config in (Rvq48Config(), tiny_config(), small_config(sinusoid_layers=(1, 3))):
        assert Rvq48Config.from_json(config.to_json()) == config
    assert Rvq48Config.from_json("{}") == Rvq48Config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": -48_000}, "a size that isn.t positive"),
        ({"codebook_size": 0}, "a size that isn.t positive"),
        ({"mdct_size": 0}, "a size that isn.t positive"),
        ({"postfilter_blocks": 0}, "a size that isn.t positive"),
        ({"sample_rate": 8001}, "whole frames"),
        ({"sample_rate": 4000}, "a quarter of a frame"),
        ({"mdct_size": 25, "merge": 10, "band_edges": (0, 25)}, "a quarter of a frame"),
        ({"band_edges": (0, 6, 70)}, "band edges"),
        ({"band_edges": (1, 6, 80)}, "band edges"),
        ({"band_edges": (0, 6, 6, 80)}, "band edges"),
        ({"search_stops": (2, 3)}, "search stops"),
        ({"search_stops": (4, 2, 4)}, "search stops"),
        ({"kernel_size": 4}, "odd"),
        ({"kernel_size": 1}, "odd and above 1"),
        ({"kernel_size": 99}, "context"),
        ({"postfilter_blocks": 64, "merge": 1, "kernel_size": 5}, "context"),
        ({"level_dbfs": 1.0}, "0 dBFS"),
        ({"window_blocks": 65}, "limits"),
        ({"decoder_fine_width": 1 << 20}, "limits"),
        ({"sinusoid_layers": (1,)}, "sinusoids have ranges"),
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
        ('{"noise_bands": [3]}', "unknown key: noise_bands"),
    ],
)
def test_json_is_read_strictly(text, message):
    with pytest.raises(ModelError, match=message):
        Rvq48Config.from_json(text)


def test_geometry_is_what_codes_mean_and_no_more():
    geometry = tiny_config().geometry()
    for changes in ({"decoder_fine_blocks": 2}, {"search_stops": (1, 4)}, {"window_blocks": 1}, {"default_layers": 1}):
        assert tiny_config(**changes).geometry() == geometry
    for changes in ({"level_dbfs": -20.0}, {"sample_rate": 16_000}, {"merge": 1}, {"band_edges": (0, 80)}):
        assert tiny_config(**changes).geometry() != geometry


def test_a_configuration_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_config().merge = 3
    assert json.loads(tiny_config().to_json())["merge"] == 2
