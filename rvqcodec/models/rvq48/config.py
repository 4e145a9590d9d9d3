"""The shape of an rvq48 model: an immutable configuration, read strictly from JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from itertools import pairwise

from rvqcodec.encoded import MAX_SAMPLE_RATE, LayerGroup
from rvqcodec.errors import ModelError
from rvqcodec.models.family import Traits, read_json

MAX_WEIGHTS = 1 << 28
MAX_BLOCKS = 64
POSTFILTER_EXPANSION = 2
PITCH_RATE, PITCH_PIECES, PITCH_REACH_S, PITCH_HOLD = 8_000, 4, 0.06, 10
"""Of the pitch analysis (`pitch`): its sample rate, its pieces of a latent frame, how far a sample depends on others, and how many frames
around a pitch count as voiced (`unvoiced`)."""
SINUSOID_RANGES_HZ, N_FREQUENCIES = ((2_000.0, 3_000.0), (3_000.0, 15_000.0)), 255
"""Of the layers of parametric sinusoids, the lowest first: their ranges, and the steps of a range's logarithmic scale; code 0 is none."""
SINUSOID_RUN, SINUSOID_ANCHOR = 4, 16
"""Frames that a sinusoid lasts at least (`sinusoid_search`), and from one zero of its phase to the next."""
BAND_EDGES = (0, 2, 4, 6, 8, 10, 13, 16, 20, 24, 29, 35, 42, 50, 60, 72, 86, 102, 122, 146, 174, 208, 248, 284, 320)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rvq48Config:
    """Sizes of an rvq48 model: MDCT, linear path, band energies, ConvNeXt branches and RVQ.

    Frames are latent frames unless they are called transform frames; `merge` transform frames make one latent frame.

    Args:
        sinusoid_layers: Layers, counted from 0, that hold the frequencies of sinusoids; all others hold vectors. Other numbers of layers
            in here count layers of vectors alone.
        search_stops: Layers after which the beam of the quantizer's search is pruned to one.
        default_layers: Layers coded unless the user says otherwise.
        postfilter_width, postfilter_blocks: Of the pitch postfilter.
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
        pitch_fits = factor * PITCH_RATE == self.sample_rate and self.hop_length % (PITCH_PIECES * factor) == 0
        checks = {
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
        broken = [rule for rule, holds in checks.items() if not holds]
        if broken:
            raise ModelError(f"the model's configuration breaks a rule: {broken[0]}")

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
        """Layers of codes: those of vectors and those of sinusoids."""
        return self.n_codebooks + len(self.sinusoid_layers)

    def n_vectors(self, n_layers: int) -> int:
        """Return how many of the first `n_layers` layers hold vectors."""
        return n_layers - sum(layer < n_layers for layer in self.sinusoid_layers)

    @property
    def groups(self) -> tuple[LayerGroup, ...]:
        """The layers, neighbours of one kind together."""
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
        """Return the first edge of a band at or above a frequency, as a coefficient's number; mdct_size where there is none."""
        return next(
            (edge for edge in self.band_edges if edge * self.sample_rate >= 2 * hertz * self.mdct_size), self.mdct_size
        )

    def bins_below(self, hertz: float) -> int:
        """Return how many coefficients of a transform frame lie below a frequency."""
        return round(2 * self.mdct_size * hertz / self.sample_rate)

    @property
    def latent_dim(self) -> int:
        """Numbers of one latent vector: waveform part, then envelope part."""
        return self.waveform_dim + self.n_bands

    @property
    def pitch_reach(self) -> int:
        """Frames on each side that the pitch analysis of a frame looks at."""
        return math.ceil(PITCH_REACH_S * self.frame_rate)

    @property
    def encoder_context(self) -> int:
        """Frames on each side that an encoded frame depends on (blocks, transform overlap, pitches and sinusoids nearby)."""
        nearby = PITCH_HOLD + self.pitch_reach + (SINUSOID_RUN if self.sinusoid_layers else 0)
        return max(nearby, self.reach(self.encoder_fine_blocks, self.encoder_coarse_blocks) + 1)

    @property
    def decoder_context(self) -> int:
        """Frames on each side that a decoded frame depends on: the network, then the reach of each step of the chain, one after the other.

        They are the transform's overlap (1), the pitch analysis, decorrelation (3), smoothing (1) and the postfilter; sinusoids look by
        themselves.
        """
        network = self.reach(self.decoder_fine_blocks, self.decoder_coarse_blocks + 1)
        chain = 1 + self.pitch_reach + 3 + 1 + self.reach(self.postfilter_blocks, 0)
        return max(network + chain, SINUSOID_ANCHOR + 3 if self.sinusoid_layers else 0)

    def reach(self, n_fine: int, n_coarse: int) -> int:
        """Return the frames on each side that blocks at the transform's rate and at the latent's rate look at."""
        side = self.kernel_size // 2
        return -(-n_fine * side // self.merge) + n_coarse * side

    def search_depth(self, n_layers: int) -> int:
        """Return the first search stop at or past `n_layers` of vectors: the layers a search for those runs through."""
        return next(stop for stop in self.search_stops if stop >= n_layers)

    def traits(self) -> Traits:
        """Return what engine and format have to know."""
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
        """Return what codes mean besides the codebooks, as bytes for the fingerprint."""
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
        """Read a configuration.

        Raises:
            ModelError: The text isn't a JSON object with exactly known keys of the right types, or breaks a rule.
        """
        return read_json(cls, text)

    def _n_blocks(self) -> tuple[int, ...]:
        names = "encoder_fine_blocks encoder_coarse_blocks decoder_coarse_blocks decoder_fine_blocks postfilter_blocks"
        return tuple(getattr(self, name) for name in names.split())

    def _n_weights(self) -> int:
        """Return about how many numbers the model has, transforms included."""
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
