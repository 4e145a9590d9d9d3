"""The rvq48 model: encoder, residual vector quantizer, sinusoid search and decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.family import fingerprint
from rvqcodec.models.layers.quantizer import ResidualQuantizer
from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.decoder import Decoder
from rvqcodec.models.rvq48.encoder import Encoder
from rvqcodec.models.rvq48.pitch import PitchAnalyser
from rvqcodec.models.rvq48.sinusoid_search import find_sinusoids
from rvqcodec.models.rvq48.unvoiced import unvoiced_weight


class Rvq48(nn.Module):
    """A model of the family rvq48 (`models.family.Family`).

    Args:
        config: The sizes of the model.

    Attributes:
        silence: Latent of silence, the decoder's input in frames without codes, [latent_dim].
    """

    silence: Tensor
    n_vector_layers: Tensor

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.config = config
        self.traits = config.traits()
        self.pitch = PitchAnalyser(config)
        self.encoder = Encoder(config)
        self.quantizer = ResidualQuantizer(
            config.n_codebooks, config.codebook_size, config.latent_dim, config.search_stops, config.waveform_dim
        )
        self.decoder = Decoder(config, self.pitch)
        self.register_buffer("silence", torch.zeros(config.latent_dim))
        n_vector_layers = torch.tensor([config.n_vector_layers(n_layers) for n_layers in range(config.n_layers + 1)])
        self.register_buffer("n_vector_layers", n_vector_layers, persistent=False)
        self.vector_layers = [layer for layer in range(config.n_layers) if layer not in config.sinusoid_layers]

    @property
    def fingerprint(self) -> str:
        """Identifies the meaning of codes: 16 hex digits of a hash of signal geometry and codebooks."""
        codebooks = self.quantizer.codebooks.detach().cpu().contiguous().numpy()
        return fingerprint(self.config.geometry(), codebooks.astype("<f4").tobytes())

    def set_silence(self) -> None:
        """Set the latent of silence to the encoder's output in the middle of a window of zeros."""
        frames = 2 * self.config.encoder_context + 1
        with torch.inference_mode():
            zeros = self.silence.new_zeros(1, frames * self.config.hop_length)
            self.silence.copy_(self.encoder(zeros)[0, frames // 2])

    def encode(
        self, waves: Tensor, n_layers: int, beam_width: int, context: tuple[int, int] = (0, 0), state: None = None
    ) -> Tensor:
        """Return the codes, int64 [batch, n_layers, frames], of levelled waves [batch, 1, n_samples] (`Family`)."""
        wave = waves[:, 0]
        missing = -wave.shape[1] % self.config.hop_length
        wave = nn.functional.pad(wave, (0, missing)) if missing else wave
        n_frames = wave.shape[1] // self.config.hop_length
        frames = slice(context[0], n_frames - context[1])
        unvoiced = unvoiced_weight(self.pitch(wave).correlation)
        n_vectors = self.config.n_vector_layers(n_layers)
        latent = self.encoder(wave)[:, frames]
        layers = list(self.quantizer.encode(latent, n_vectors, beam_width, unvoiced[:, frames]).unbind(1))
        if len(layers) < n_layers:
            found = find_sinusoids(wave, unvoiced, self.config.hop_length, self.config.sample_rate)[:, :, frames]
            for layer, codes in zip(self.config.sinusoid_layers, found.unbind(1), strict=False):
                layers.insert(layer, codes)
        return torch.stack(layers[:n_layers], 1)

    def search(self, wave: Tensor, n_layers: int, beam_width: int = 1) -> Tensor:
        """Return the codes of the vector layers, int64 [batch, n_layers, frames], of levelled waves [batch, n_samples]."""
        unvoiced = unvoiced_weight(self.pitch(wave).correlation)
        return self.quantizer.encode(self.encoder(wave), n_layers, beam_width, unvoiced)

    def decode(
        self,
        codes: Tensor,
        n_layers: Tensor,
        active: Tensor,
        frame_index: Tensor,
        context: tuple[int, int] = (0, 0),
        state: None = None,
    ) -> Tensor:
        """Return the waves [batch, 1, frames * hop_length] (`Family`)."""
        vectors, sinusoids = self.split(codes, n_layers)
        n_vectors = self.n_vector_layers[n_layers]
        latent = torch.where(active[..., None], self.quantizer.decode(vectors, n_vectors), self.silence)
        wave = self.decoder(latent, n_vectors, active, frame_index, sinusoids)
        hop = self.config.hop_length
        return wave[:, None, context[0] * hop : wave.shape[1] - context[1] * hop]

    def split(self, codes: Tensor, n_layers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of the vector layers, and those of the sinusoid layers, 0 where their layer isn't decoded.

        Args:
            codes: int64 [batch, layers, frames].
            n_layers: Layers to decode in each frame, int64 [batch, frames].
        """
        n = codes.shape[1]
        present = [layer for layer in self.config.sinusoid_layers if layer < n]
        decoded = n_layers[:, None] > torch.tensor(present, device=codes.device, dtype=torch.int64)[:, None]
        return codes[:, [layer for layer in self.vector_layers if layer < n]], codes[:, present] * decoded
