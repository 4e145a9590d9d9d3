"""The codec: encoder, quantizer and decoder of one model, and the place where numpy and torch meet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rvqcodec.errors import DeviceError
from rvqcodec.models.config import CodecConfig, fingerprint
from rvqcodec.models.decoder import Decoder
from rvqcodec.models.encoder import Encoder
from rvqcodec.models.quantizer import ResidualQuantizer

Wave = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]


class Codec(nn.Module):
    """One model: `encoder`, `quantizer`, `decoder`, and the latent of silence that fills in where nothing was coded.

    Args:
        config: The shape of the model.
        name: The name under which the model is known; it goes into the files.
    """

    silence: Tensor

    def __init__(self, config: CodecConfig, name: str = "unnamed") -> None:
        super().__init__()
        self.config = config
        self.name = name
        self.encoder = Encoder(config)
        self.quantizer = ResidualQuantizer(config)
        self.decoder = Decoder(config)
        self.register_buffer("silence", torch.zeros(config.latent_dim))

    @property
    def fingerprint(self) -> str:
        """What the codes mean, as 16 hex digits: a hash of the codebooks and the signal geometry."""
        codebooks = self.quantizer.codebooks.detach().cpu().contiguous().numpy()
        return fingerprint(self.config, codebooks.astype("<f4").tobytes())

    def set_silence(self) -> None:
        """Take the latent of silence from the encoder, at the middle of a window of zeros."""
        frames = 2 * self.config.encoder_context + 1
        with torch.inference_mode():
            zeros = self.silence.new_zeros(1, frames * self.config.hop_length)
            self.silence.copy_(self.encoder(zeros)[0, frames // 2])

    def encode_window(self, wave: Wave, n_layers: int, n_candidates: int) -> Codes:
        """Return the codes [n_layers, frames] of one window of one levelled stream.

        Args:
            wave: Samples [(frames + 2 * encoder_context) * hop_length]: the window with its context on both sides.
            n_layers: Layers to keep, 1 .. n_codebooks.
            n_candidates: Candidates of the search.

        Raises:
            DeviceError: The device failed or has no memory left.
        """
        context = self.config.encoder_context
        with self._running() as device:
            latent = self.encoder(torch.from_numpy(wave).to(device)[None])[:, context:-context]
            codes = self.quantizer.encode(latent, n_layers, n_candidates)[0]
            return codes.cpu().numpy().astype(np.uint16)

    def decode_window(self, codes: Codes, n_layers: npt.NDArray[np.int64], sounding: npt.NDArray[np.bool_]) -> Wave:
        """Return the samples [frames * hop_length] of one window of one levelled stream.

        Args:
            codes: Codes [layers, frames + 2 * decoder_context], the window with its context on both sides.
            n_layers: Layers of each frame that count, [frames + 2 * decoder_context].
            sounding: False for frames without codes, which are silent, [frames + 2 * decoder_context].

        Raises:
            DeviceError: The device failed or has no memory left.
        """
        context = self.config.decoder_context * self.config.hop_length
        with self._running() as device:
            layers = torch.from_numpy(n_layers).to(device)[None]
            audible = torch.from_numpy(sounding).to(device)[None]
            latent = self.quantizer.decode(torch.from_numpy(codes.astype(np.int64)).to(device)[None], layers)
            latent = torch.where(audible[..., None], latent, self.silence)
            wave: Wave = self.decoder(latent, layers, audible)[0, context:-context].cpu().numpy()
            return wave

    @contextlib.contextmanager
    def _running(self) -> Iterator[torch.device]:
        try:
            with torch.inference_mode():
                yield self.silence.device
        except torch.OutOfMemoryError as error:
            raise DeviceError("the device has no memory left", "try --device cpu") from error
