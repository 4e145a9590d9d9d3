"""The shape of a model: an immutable configuration, read strictly from JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rvqcodec.encoded import MAX_SAMPLE_RATE, LayerGroup, Signal
from rvqcodec.errors import ModelError

MAX_WEIGHTS = 1 << 28
MAX_BLOCKS = 64
POSTFILTER_EXPANSION = 2
PITCH_RATE, PITCH_PIECES, PITCH_REACH_S, PITCH_HOLD = 8_000, 4, 0.06, 10
"""Of the search for a pitch (`pitch`): the sample rate that it works at, its pieces of a latent frame, how far a sample depends on others,
and how many frames around a pitch count as having one (`pitchless`)."""
BUZZ_REACH = 2
"""Frames on each side that a bin is compared over (`buzz`)."""
TONE_RANGES_HZ, N_TONES = ((2_000.0, 3_000.0), (3_000.0, 15_000.0)), 255
"""Of the tone layers (`tones`), the lowest first: their ranges, and the places on a range's logarithmic scale; code 0 is no tone."""
TONE_RUN, TONE_ANCHOR = 4, 16
"""Frames that a tone goes on for at least (`tone_search`), and from one zero of its phase to the next."""
BAND_EDGES = (0, 2, 4, 6, 8, 10, 13, 16, 20, 24, 29, 35, 42, 50, 60, 72, 86, 102, 122, 146, 174, 208, 248, 284, 320)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig:
    """Sizes of the default model family: MDCT, linear path, band energies, ConvNeXt branches and RVQ.

    Frames are latent frames unless they are called transform frames; `merge` transform frames make one latent frame.
    `noise_bands`, `makeup_centibels` and `low_exponents` finish a decoded spectrum (`finish`), one entry for each number of layers from 1
    on: the first band that is noise, by how much it is too quiet, and the exponent in hundredths that its low coefficients are raised
    to. `pitch_strengths`, in hundredths, tells how strong the comb filter on the decoded wave is (`pitch`), `noise_evenness`, in
    hundredths, how far noise is evened out (`texture`), `buzz_strengths` how far its repetition is broken (`buzz`). All are measured
    after training (`calibration`). `postfilter` holds width and number of blocks of the network on top of these, or nothing.
    `code_costs`, one for each layer: entry 0 of each codebook is the zero vector, and the search takes another one only where that
    saves more squared error of the latent than so many hundredths. So a frame gets the layers that it needs, and what 0 says is
    left to the entropy coder, which soon takes it for granted.
    `pitchless_gains`, in hundredths, one for each search stop: how much more errors of the envelope count, in the layers up to that
    stop, where the source has no pitch (`pitchless`).
    `tone_layers` are the layers, counted from 0, that hold no vectors but say where tones are (`tones`). As many of the last codebooks
    go without a layer then. All other numbers of layers in here count layers of vectors alone.
    """

    sample_rate: int = 48_000
    mdct_size: int = 320
    merge: int = 3
    band_edges: tuple[int, ...] = BAND_EDGES
    waveform_dim: int = 104
    encoder_fine_width: int = 192
    encoder_fine_blocks: int = 4
    encoder_coarse_width: int = 320
    encoder_coarse_blocks: int = 3
    decoder_coarse_width: int = 384
    decoder_coarse_blocks: int = 3
    decoder_fine_width: int = 256
    decoder_fine_blocks: int = 5
    kernel_size: int = 7
    expansion: int = 3
    n_codebooks: int = 24
    codebook_size: int = 1024
    window_blocks: int = 5
    search_stops: tuple[int, ...] = (3, 6, 12, 24)
    level_dbfs: float = -22.0
    noise_bands: tuple[int, ...] = ()
    makeup_centibels: tuple[int, ...] = ()
    low_exponents: tuple[int, ...] = ()
    pitch_strengths: tuple[int, ...] = ()
    noise_evenness: tuple[int, ...] = ()
    postfilter: tuple[int, ...] = ()
    code_costs: tuple[int, ...] = ()
    pitchless_gains: tuple[int, ...] = ()
    buzz_strengths: tuple[int, ...] = ()
    tone_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        sizes = [getattr(self, field.name) for field in dataclasses.fields(self) if field.type == "int"]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ModelError("the model's configuration has a size that isn't positive")
        checks = {
            "a second holds whole frames": self.sample_rate % self.hop_length == 0,
            "band edges rise from 0 to mdct_size": _rises(self.band_edges, 0, self.mdct_size),
            "search stops rise to n_codebooks": _rises((0, *self.search_stops), 0, self.n_codebooks),
            "noise, make-up, exponents and strengths have an entry for each number of layers": {
                len(self.noise_bands),
                len(self.makeup_centibels),
                len(self.low_exponents),
                len(self.pitch_strengths),
                len(self.noise_evenness),
                len(self.buzz_strengths),
            }
            <= {0, self.n_codebooks},
            "exponents are 0.01 to 2": all(1 <= exponent <= 200 for exponent in self.low_exponents),
            "strengths are 0 to 1": all(
                0 <= strength <= 100 for strength in self.pitch_strengths + self.noise_evenness + self.buzz_strengths
            ),
            "noise is evened out beside a comb filter, which finds it": not self.noise_evenness
            or bool(self.pitch_strengths),
            "buzz is filtered where noise is evened out": not self.buzz_strengths or bool(self.noise_evenness),
            "a postfilter has a width and blocks, and stands on the other steps": not self.postfilter
            or (len(self.postfilter) == 2 and min(self.postfilter) > 0 and bool(self.noise_evenness)),
            "a comb filter takes multiples of 8 kHz, and quarters of a latent frame": not self.pitch_strengths
            or self.takes_pitch_filter,
            "noise bands are bands": all(0 <= band <= self.n_bands for band in self.noise_bands),
            "make-up is within 100 dB": all(abs(gain) <= 1000 for gain in self.makeup_centibels),
            "costs have an entry for each layer, 0 to 10^9": len(self.code_costs) in (0, self.n_codebooks)
            and all(0 <= cost <= 10**9 for cost in self.code_costs),
            "kernel_size is odd and above 1": self.kernel_size % 2 == 1 and self.kernel_size > 1,
            "gains have an entry for each search stop, 1 to 100": len(self.pitchless_gains)
            in (0, len(self.search_stops))
            and all(100 <= gain <= 10_000 for gain in self.pitchless_gains),
            "gains for sound without a pitch stand beside a comb filter, which finds it": not self.pitchless_gains
            or bool(self.pitch_strengths),
            "tone layers rise, and one of vectors comes first": all(
                low < high for low, high in pairwise((0, *self.tone_layers, self.n_layers))
            ),
            "tones have ranges, and codes for them": not self.tone_layers
            or (
                len(self.tone_layers) <= len(TONE_RANGES_HZ)
                and self.sample_rate >= 32_000
                and self.codebook_size > N_TONES
            ),
            "the context is shorter than a block": max(self.encoder_context, self.decoder_context) <= self.frame_rate,
        }
        checks["the level is 0 dBFS or less"] = -100 < self.level_dbfs <= 0
        checks["the sizes are within limits"] = (
            self._n_weights() <= MAX_WEIGHTS
            and max(self.window_blocks, *self._n_blocks()) <= MAX_BLOCKS
            and self.sample_rate <= MAX_SAMPLE_RATE
        )
        broken = [rule for rule, holds in checks.items() if not holds]
        if broken:
            raise ModelError(f"the model's configuration breaks a rule: {broken[0]}")

    @property
    def takes_pitch_filter(self) -> bool:
        """Whether the pieces of a latent frame are whole samples at the comb filter's rate."""
        factor = self.sample_rate // PITCH_RATE
        return factor * PITCH_RATE == self.sample_rate and self.hop_length % (PITCH_PIECES * factor) == 0

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.mdct_size * self.merge

    @property
    def frame_rate(self) -> int:
        """Latent frames per second, which are the frames of one block."""
        return self.sample_rate // self.hop_length

    @property
    def n_layers(self) -> int:
        """Layers of codes, those of tones among them."""
        return self.n_codebooks

    def n_vectors(self, n_layers: int) -> int:
        """Return how many of the first `n_layers` layers hold vectors."""
        return n_layers - sum(layer < n_layers for layer in self.tone_layers)

    @property
    def n_bands(self) -> int:
        """Bands of the spectral envelope."""
        return len(self.band_edges) - 1

    def edge_from(self, hertz: float) -> int:
        """Return the first edge of a band at or above a frequency, as a coefficient's number; mdct_size where there is none."""
        return next(
            (edge for edge in self.band_edges if edge * self.sample_rate >= 2 * hertz * self.mdct_size), self.mdct_size
        )

    @property
    def latent_dim(self) -> int:
        """Numbers of one latent vector: waveform part, then envelope part."""
        return self.waveform_dim + self.n_bands

    @property
    def encoder_context(self) -> int:
        """Frames on each side that an encoded frame depends on (blocks, transform overlap, pitches nearby)."""
        nearby = PITCH_HOLD + math.ceil(PITCH_REACH_S * self.frame_rate)
        nearby = nearby if self.pitchless_gains or self.tone_layers else 0
        nearby += TONE_RUN if self.tone_layers else 0
        return max(nearby, self._context(self.encoder_fine_blocks, self.encoder_coarse_blocks) + 1)

    @property
    def decoder_context(self) -> int:
        """Frames on each side that a decoded frame depends on.

        They come from the blocks, the input convolution, the transform's overlap, the comb filter, the overlap once more where the
        comb filter's findings change coefficients, the frames that buzz is looked for in, and the postfilter's blocks.
        """
        pitch = math.ceil(PITCH_REACH_S * self.frame_rate) if self.pitch_strengths else 0
        texture = 1 if self.noise_evenness else 0
        buzz = BUZZ_REACH + 1 if self.buzz_strengths else 0
        postfilter = self._context(sum(self.postfilter[1:]), 0)
        tones = TONE_ANCHOR + 3 if self.tone_layers else 0
        return max(
            tones,
            self._context(self.decoder_fine_blocks, self.decoder_coarse_blocks + 1)
            + 1
            + pitch
            + texture
            + buzz
            + postfilter,
        )

    def _n_blocks(self) -> tuple[int, ...]:
        encoder, decoder = "encoder_fine_blocks encoder_coarse_blocks", "decoder_coarse_blocks decoder_fine_blocks"
        return *(getattr(self, name) for name in f"{encoder} {decoder}".split()), sum(self.postfilter[1:])

    def _n_weights(self) -> int:
        """Return about how many numbers the model has, transforms included."""
        names = ("encoder_fine_width", "encoder_coarse_width", "decoder_coarse_width", "decoder_fine_width")
        widths = [*(getattr(self, name) for name in names), sum(self.postfilter[:1])]
        shapes = zip(widths, self._n_blocks(), strict=True)
        branches = sum(n * width * (2 * self.expansion * width + self.kernel_size) for width, n in shapes)
        between = (self.merge * max(widths) + self.latent_dim) * (self.kernel_size + max(widths) + self.mdct_size)
        codebooks = self.n_codebooks * (self.codebook_size * self.latent_dim + 2 * max(widths))
        return branches + between + codebooks + self.hop_length * self.waveform_dim + 2 * self.mdct_size**2

    def _context(self, n_fine: int, n_coarse: int) -> int:
        reach = self.kernel_size // 2
        return -(-n_fine * reach // self.merge) + n_coarse * reach

    def search_depth(self, n_layers: int) -> int:
        """Return the first search stop at or past `n_layers` of vectors: the layers a search for those runs through."""
        return next(stop for stop in self.search_stops if stop >= n_layers)

    def layers_for_bitrate(self, kbps: float, channels: int) -> int:
        """Return how many layers give the nominal bitrate nearest to `kbps`, all channels together."""
        bits_per_layer = channels * (self.codebook_size - 1).bit_length() * self.frame_rate
        return min(self.n_layers, max(1, round(kbps * 1000 / bits_per_layer)))

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> CodecConfig:
        """Read a configuration.

        Raises:
            ModelError: The text isn't a JSON object with exactly known keys of the right types.
        """
        types = {field.name: field.type for field in dataclasses.fields(cls)}
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise TypeError("not an object")
            unknown = sorted(set(values) - set(types))
            if unknown:
                raise ModelError(f"the model's configuration has an unknown key: {unknown[0]}")
            typed: dict[str, Any] = {key: _typed(key, value, str(types[key])) for key, value in values.items()}
            return cls(**typed)
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise ModelError("the model's configuration can't be read") from error

    def geometry(self) -> bytes:
        """Return what codes mean besides the codebooks, as bytes for the fingerprint."""
        names = (
            "sample_rate",
            "mdct_size",
            "merge",
            "band_edges",
            "waveform_dim",
            "n_codebooks",
            "codebook_size",
            "level_dbfs",
        )
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.tone_layers:
            found |= {"tone_layers": self.tone_layers, "tone_ranges_hz": TONE_RANGES_HZ, "n_tones": N_TONES}
        return json.dumps(found, sort_keys=True).encode()

    def signal(
        self, name: str, fingerprint: str, sample_rate: int, channels: int, n_layers: int, sample_format: int = 0
    ) -> Signal:
        """Return the description of audio coded by the model `name` of this configuration.

        Args:
            name: The model's name.
            fingerprint: What its codes mean.
            sample_rate: Of the source, Hz.
            channels: Of the source.
            n_layers: Layers coded.
            sample_format: Of the source, as in an .rvq header; 0 is unknown.

        Raises:
            ValueError: `n_layers` is out of range.
        """
        if not 1 <= n_layers <= self.n_layers:
            raise ValueError(f"{n_layers} layers: {name} has 1 to {self.n_layers}")
        return Signal(
            model=name,
            fingerprint=fingerprint,
            sample_rate=sample_rate,
            channels=channels,
            sample_format=sample_format,
            rotated=channels == 2,
            groups=(LayerGroup(n_layers=n_layers, codebook_size=self.codebook_size),),
            model_sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            frames_per_block=self.frame_rate,
        )


def _rises(numbers: tuple[int, ...], first: int, last: int) -> bool:
    ends = len(numbers) > 1 and (numbers[0], numbers[-1]) == (first, last)
    return ends and all(low < high for low, high in pairwise(numbers))


def _typed(key: str, value: object, kind: str) -> object:
    if kind == "int" and type(value) is int:
        return value
    if kind == "float" and isinstance(value, (int, float)):
        return float(value)
    if kind.startswith("tuple") and isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    raise ModelError(f"the model's configuration has a bad value for {key}")


def fingerprint(config: CodecConfig, codebooks: bytes) -> str:
    """Return the name of a codec by what its codes mean: 16 hex digits.

    Args:
        config: The model's configuration; its signal geometry counts.
        codebooks: The codebooks as little-endian float32, C order [n_codebooks, codebook_size, latent_dim].
    """
    return hashlib.sha256(config.geometry() + codebooks).hexdigest()[:16]
