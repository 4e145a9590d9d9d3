"""Configuration of an rvq48 model: immutable sizes, parsed strictly from JSON, and what follows from them."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from itertools import pairwise

from rvqcodec.errors import ModelError
from rvqcodec.models.family import Traits, read_json
from rvqcodec.signal import MAX_SAMPLE_RATE, LayerGroup, violated

MAX_WEIGHTS = 1 << 28
MAX_BLOCKS = 64
POSTFILTER_EXPANSION = 2
PITCH_RATE, PITCH_SUBFRAMES, PITCH_CONTEXT_S, VOICING_HANGOVER = 8_000, 4, 0.06, 10
"""Of the pitch analysis (`pitch`): sample rate, subframes per latent frame, receptive field on each side in seconds, and hangover of
voicing in frames (`unvoiced`)."""
SINUSOID_RANGES_HZ, N_FREQUENCIES = ((2_000.0, 3_000.0), (3_000.0, 15_000.0)), 255
"""Of the sinusoid layers, lowest first: their frequency ranges, and the steps of each logarithmic scale; code 0: no sinusoid."""
MIN_SINUSOID_FRAMES, PHASE_RESET_FRAMES = 4, 16
"""Minimum duration of a sinusoid (`sinusoid_search`), and the interval at which its phase is reset to zero, in frames."""
BAND_EDGES = (0, 2, 4, 6, 8, 10, 13, 16, 20, 24, 29, 35, 42, 50, 60, 72, 86, 102, 122, 146, 174, 208, 248, 284, 320)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rvq48Config:
    """Sizes of an rvq48 model: MDCT, linear path, band energies, ConvNeXt branches and RVQ.

    "Frame" means latent frame unless it says transform frame; `merge` transform frames make one latent frame.

    Args:
        sample_rate: In Hz.
        mdct_size: Coefficients (and samples) per transform frame.
        merge: Transform frames per latent frame.
        band_edges: Of the spectral envelope, as coefficient indices from 0 to `mdct_size`.
        waveform_dim: Dimensions of the waveform part of the latent; the envelope part has one per band.
        encoder_fine_width, encoder_fine_blocks, encoder_coarse_width, encoder_coarse_blocks, decoder_coarse_width,
            decoder_coarse_blocks, decoder_fine_width, decoder_fine_blocks: Of the ConvNeXt branches, at the rate of transform frames
            (fine) and of latent frames (coarse).
        postfilter_width, postfilter_blocks: Of the long-term postfilter.
        kernel_size, expansion: Of the ConvNeXt blocks.
        n_codebooks: Vector layers.
        codebook_size: Of a vector layer.
        window_blocks: Blocks per window, the unit of inference.
        default_layers: Layers coded by default.
        search_stops: Vector layers after which the beam of the quantizer search is pruned to one; the last is `n_codebooks`.
        sinusoid_layers: Indices of the layers that hold frequencies of sinusoids; all others are vector layers. All other counts of layers
            in here are of vector layers only.
        level_dbfs: RMS level of the encoder's input.

    Raises:
        ModelError: The sizes contradict each other or are out of range.
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
    postfilter_width: int = 160
    postfilter_blocks: int = 4
    kernel_size: int = 7
    expansion: int = 3
    n_codebooks: int = 24
    codebook_size: int = 1024
    window_blocks: int = 5
    default_layers: int = 12
    search_stops: tuple[int, ...] = (3, 6, 12, 24)
    sinusoid_layers: tuple[int, ...] = ()
    level_dbfs: float = -22.0

    def __post_init__(self) -> None:
        sizes = [getattr(self, field.name) for field in dataclasses.fields(self) if field.type == "int"]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ModelError("the model's configuration has a size that isn't positive")
        factor = self.sample_rate // PITCH_RATE
        pitch_fits = factor * PITCH_RATE == self.sample_rate and self.hop_length % (PITCH_SUBFRAMES * factor) == 0
        rules = {
            "a second holds whole frames": self.sample_rate % self.hop_length == 0,
            "band edges rise from 0 to mdct_size": _rises(self.band_edges, 0, self.mdct_size),
            "search stops rise to n_codebooks": _rises((0, *self.search_stops), 0, self.n_codebooks),
            "a quarter of a frame is whole samples at 8 kHz": pitch_fits,
            "kernel_size is odd and above 1": self.kernel_size % 2 == 1 and self.kernel_size > 1,
            "sinusoid layers rise, and one of vectors comes first": all(
                low < high for low, high in pairwise((0, *self.sinusoid_layers, self.n_layers))
            ),
            "sinusoids have ranges": len(self.sinusoid_layers) <= len(SINUSOID_RANGES_HZ)
            and (not self.sinusoid_layers or self.sample_rate >= 32_000),
            "the contexts are shorter than a block": max(self.encoder_context, self.decoder_context) < self.frame_rate,
            "the level is 0 dBFS or less": -100 < self.level_dbfs <= 0,
            "the sizes are within limits": self._n_weights() <= MAX_WEIGHTS
            and max(self.window_blocks, *self._n_blocks()) <= MAX_BLOCKS
            and self.sample_rate <= MAX_SAMPLE_RATE,
        }
        if rule := violated(rules):
            raise ModelError(f"the model's configuration is invalid; required: {rule}")

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
        """All layers: those of vectors and those of sinusoids."""
        return self.n_codebooks + len(self.sinusoid_layers)

    def n_vector_layers(self, n_layers: int) -> int:
        """Return how many of the first `n_layers` layers are vector layers."""
        return n_layers - sum(layer < n_layers for layer in self.sinusoid_layers)

    @property
    def groups(self) -> tuple[LayerGroup, ...]:
        """The layers, grouped by kind."""
        kinds = ["sinusoid" if layer in self.sinusoid_layers else "vector" for layer in range(self.n_layers)]
        borders = [0, *(n for n in range(1, len(kinds)) if kinds[n] != kinds[n - 1]), len(kinds)]
        sizes = {"vector": self.codebook_size, "sinusoid": N_FREQUENCIES + 1}
        return tuple(
            LayerGroup(n_layers=last - first, codebook_size=sizes[kinds[first]], kind=kinds[first])
            for first, last in pairwise(borders)
        )

    @property
    def n_bands(self) -> int:
        """Bands of the spectral envelope."""
        return len(self.band_edges) - 1

    def edge_from(self, hertz: float) -> int:
        """Return the lowest band edge at or above a frequency, as a coefficient index; mdct_size if there is none."""
        return next(
            (edge for edge in self.band_edges if edge * self.sample_rate >= 2 * hertz * self.mdct_size), self.mdct_size
        )

    def bins_below(self, hertz: float) -> int:
        """Return the number of coefficients below a frequency."""
        return round(2 * self.mdct_size * hertz / self.sample_rate)

    @property
    def latent_dim(self) -> int:
        """Dimensions of the latent: waveform part, then envelope part."""
        return self.waveform_dim + self.n_bands

    @property
    def pitch_receptive_field(self) -> int:
        """Receptive field of the pitch analysis on each side, in frames."""
        return math.ceil(PITCH_CONTEXT_S * self.frame_rate)

    @property
    def encoder_context(self) -> int:
        """Receptive field of the encoder on each side, in frames: network and transform overlap, or voicing and sinusoid tracking."""
        nearby = VOICING_HANGOVER + self.pitch_receptive_field + (MIN_SINUSOID_FRAMES if self.sinusoid_layers else 0)
        return max(nearby, self.receptive_field(self.encoder_fine_blocks, self.encoder_coarse_blocks) + 1)

    @property
    def decoder_context(self) -> int:
        """Receptive field of the decoder on each side, in frames: the network's plus that of each step of the enhancement chain.

        The steps are transform overlap (1), pitch analysis, decorrelation (3), smoothing (1) and the postfilter; sinusoids are synthesised
        from codes alone.
        """
        network = self.receptive_field(self.decoder_fine_blocks, self.decoder_coarse_blocks + 1)
        chain = 1 + self.pitch_receptive_field + 3 + 1 + self.receptive_field(self.postfilter_blocks, 0)
        return max(network + chain, PHASE_RESET_FRAMES + 3 if self.sinusoid_layers else 0)

    def receptive_field(self, n_fine: int, n_coarse: int) -> int:
        """Return the receptive field on each side, in frames, of blocks at the rate of transform frames and of latent frames."""
        side = self.kernel_size // 2
        return -(-n_fine * side // self.merge) + n_coarse * side

    def search_depth(self, n_layers: int) -> int:
        """Return the search depth for `n_layers` vector layers: the first search stop at or above it."""
        return next(stop for stop in self.search_stops if stop >= n_layers)

    def traits(self) -> Traits:
        """Return the properties that engine and format need."""
        encoder, decoder = self.encoder_context, self.decoder_context
        return Traits(
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            frames_per_block=self.frame_rate,
            block_step=self.sample_rate,
            window_blocks=self.window_blocks,
            groups=self.groups,
            default_layers=min(self.default_layers, self.n_layers),
            levels="rms",
            level_dbfs=self.level_dbfs,
            encoder_context=(encoder, encoder),
            decoder_context=(decoder, decoder),
            edges="symmetric",
        )

    def geometry(self) -> bytes:
        """Return the signal geometry as bytes: what the meaning of codes depends on besides the codebooks, for the fingerprint."""
        names = (
            "sample_rate mdct_size merge band_edges waveform_dim n_codebooks codebook_size level_dbfs sinusoid_layers"
        )
        found = {name: getattr(self, name) for name in names.split()}
        return json.dumps(found | {"ranges_hz": SINUSOID_RANGES_HZ}, sort_keys=True).encode()

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Rvq48Config:
        """Parse a configuration.

        Raises:
            ModelError: The text isn't a JSON object of known keys and valid values.
        """
        return read_json(cls, text)

    def _n_blocks(self) -> tuple[int, ...]:
        names = "encoder_fine_blocks encoder_coarse_blocks decoder_coarse_blocks decoder_fine_blocks postfilter_blocks"
        return tuple(getattr(self, name) for name in names.split())

    def _n_weights(self) -> int:
        """Return approximately how many parameters the model has, transforms included."""
        names = "encoder_fine_width encoder_coarse_width decoder_coarse_width decoder_fine_width postfilter_width"
        widths = [getattr(self, name) for name in names.split()]
        shapes = zip(widths, self._n_blocks(), strict=True)
        branches = sum(n * width * (2 * self.expansion * width + self.kernel_size) for width, n in shapes)
        between = (self.merge * max(widths) + self.latent_dim) * (self.kernel_size + max(widths) + self.mdct_size)
        codebooks = self.n_codebooks * (self.codebook_size * self.latent_dim + 2 * max(widths))
        return branches + between + codebooks + self.hop_length * self.waveform_dim + 2 * self.mdct_size**2


def _rises(numbers: tuple[int, ...], first: int, last: int) -> bool:
    ends = len(numbers) > 1 and (numbers[0], numbers[-1]) == (first, last)
    return ends and all(low < high for low, high in pairwise(numbers))
