import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from rvqcodec.errors import ModelError
from rvqcodec.models.soundstream.model import SoundStream
from rvqcodec.weights.importers import tflite
from rvqcodec.weights.importers.lyra import (
    DECODER,
    ENCODER,
    FILES,
    LYRA,
    QUANTIZER,
    WEIGHTS,
    digest,
    from_safetensors,
    import_lyra,
    is_release,
)
from rvqcodec.weights.importers.tflite import ADD, CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, parse_tflite, read_tflite
from tests.soundstreams import TINY, conv_names, shared_lyra, tiny_model

CONCATENATION, GATHER, SQUARED_DIFFERENCE = 2, 36, 99


def table(out, *fields):
    """Append a flatbuffer's table: numbers as (format, value), vectors as bytes of 32-bit items, lists of tables, or None."""
    sizes = [
        0 if field is None else struct.calcsize("<" + field[0]) if isinstance(field, tuple) else 4 for field in fields
    ]
    places, end = [], 4
    for size in sizes:
        places.append(end if size else 0)
        end += size
    out.extend(struct.pack(f"<{2 + len(fields)}H", 4 + 2 * len(fields), end, *places))
    start = len(out)
    out.extend(struct.pack("<i", 4 + 2 * len(fields)) + bytes(end - 4))
    for field, place in zip(fields, places, strict=True):
        if isinstance(field, tuple):
            struct.pack_into("<" + field[0], out, start + place, field[1])
        elif field is not None:
            struct.pack_into("<I", out, start + place, len(out) - start - place)
            vector(out, field)
    return start


def vector(out, items):
    if not isinstance(items, list):
        data, size = items if isinstance(items, bytes) else items.tobytes(), 1 if isinstance(items, bytes) else 4
        out.extend(struct.pack("<I", len(data) // size) + data)
        return
    start = len(out)
    out.extend(struct.pack("<I", len(items)) + bytes(4 * len(items)))
    for number, fields in enumerate(items):
        place = start + 4 + 4 * number
        struct.pack_into("<I", out, place, table(out, *fields) - place)


def ints(*numbers):
    return np.array(numbers, "<i4")


class Net:
    """Writes one graph as a TFLite file."""

    def __init__(self):
        self.tensors, self.buffers, self.operators = [], [(None,)], []

    def tensor(self, value=None, kind=0):
        if value is not None:
            self.buffers.append((np.ascontiguousarray(value).tobytes(),))
        shape = ints(*value.shape) if value is not None else ints(1, 1)
        self.tensors.append((shape, ("b", kind), ("I", 0 if value is None else len(self.buffers) - 1)))
        return len(self.tensors) - 1

    def add(self, code, *inputs, kind=0):
        numbers = [self.tensor(item, kind) if isinstance(item, np.ndarray) else item for item in inputs]
        self.operators.append((("I", code), ints(*numbers), ints(self.tensor())))
        return len(self.tensors) - 1

    def bytes(self):
        n_codes = 1 + max((operator[0][1] for operator in self.operators), default=0)
        codes = [(("b", min(code, 127)), None, ("i", 1), ("i", code)) for code in range(n_codes)]
        graph = (self.tensors, ints(0), ints(0), self.operators)
        out = bytearray(b"\0\0\0\0TFL3")
        struct.pack_into("<I", out, 0, table(out, ("I", 3), codes, [graph], None, self.buffers))
        return bytes(out)


def network(model, prefix, kind=0, more=0):
    """Return a network as Lyra has it: channels last, a transposed convolution for each group, their bias added behind them."""
    net, state = Net(), {key: value.numpy() for key, value in model.state_dict().items()}
    x = net.tensor()
    for name, layer in conv_names(model, prefix):
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias", np.zeros(layer.out_channels, np.float32))
        if isinstance(layer, torch.nn.ConvTranspose1d):
            outputs = [
                net.add(TRANSPOSE_CONV, net.tensor(ints(1), 2), part.transpose(1, 2, 0)[:, None], x, kind=kind)
                for part in np.split(weight, layer.groups)
            ]
            x = net.add(ADD, net.add(CONCATENATION, *outputs), bias)
        elif weight.shape[1] == 1 and layer.groups > 1:
            x = net.add(DEPTHWISE_CONV_2D, x, weight.transpose(1, 2, 0)[:, None], bias, kind=kind)
        else:
            x = net.add(CONV_2D, x, weight.transpose(0, 2, 1)[:, None], bias, kind=kind)
    for _ in range(more):
        x = net.add(CONV_2D, x, np.ones((1, 1, 1, 1), np.float32))
    return net.bytes()


def quantizer(codebooks, apart):
    net, x = Net(), 0
    net.tensor()
    for codebook in codebooks if apart else [codebooks]:
        number = net.tensor(codebook[None])
        net.add(SQUARED_DIFFERENCE, x, number)
        x = net.add(GATHER, number, x)
    return net.bytes()


def write(folder, model, apart=True):
    (folder / ENCODER).write_bytes(network(model, "encoder"))
    (folder / DECODER).write_bytes(network(model, "decoder"))
    (folder / QUANTIZER).write_bytes(quantizer(model.quantizer.codebooks.numpy(), apart))


@pytest.mark.parametrize("apart", [True, False])
def test_an_import_is_the_model(tmp_path, apart):
    model = tiny_model()
    write(tmp_path, model, apart)
    config, tensors = import_lyra(tmp_path, TINY)
    assert config == TINY
    assert not is_release(tmp_path)
    state = model.state_dict()
    assert sorted(tensors) == sorted(state)
    assert all(torch.equal(value, state[key]) and value.is_contiguous() for key, value in tensors.items())
    again = SoundStream(config)
    again.load_state_dict(tensors)
    assert again.fingerprint == model.fingerprint


def test_lyras_own_weights_come_through(tmp_path):
    config, expected = from_safetensors(shared_lyra() / "lyra-v1.2.0.safetensors")
    assert config == LYRA
    assert digest(expected) == WEIGHTS
    model = SoundStream(config)
    model.load_state_dict(expected)
    write(tmp_path, model)
    imported = SoundStream(config)
    imported.load_state_dict(import_lyra(tmp_path)[1])
    assert imported.fingerprint == model.fingerprint == "2a35b0ae2d424f3c"
    assert digest(dict(imported.state_dict())) == WEIGHTS


def test_the_release_is_known_by_its_hashes(tmp_path, monkeypatch):
    write(tmp_path, tiny_model())
    for name in FILES:
        monkeypatch.setitem(FILES, name, hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    with pytest.raises(ModelError, match="misread"):
        import_lyra(tmp_path, TINY)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(TINY, dilations=(1,)), "no weights that fit"),
        (replace(TINY, dilations=(1, 3, 9)), "no weights that fit|a bias"),
        (replace(TINY, codebook_size=5), "no 3 codebooks"),
        (replace(TINY, latent_dim=12), "no weights that fit|no bias|codebooks"),
        (replace(TINY, kernel_size=5), "no weights that fit"),
    ],
)
def test_other_layers_are_refused(tmp_path, config, message):
    write(tmp_path, tiny_model())
    with pytest.raises(ModelError, match=message):
        import_lyra(tmp_path, config)


def test_more_layers_are_refused(tmp_path):
    write(tmp_path, tiny_model())
    (tmp_path / DECODER).write_bytes(network(tiny_model(), "decoder", more=1))
    with pytest.raises(ModelError, match="more layers"):
        import_lyra(tmp_path, TINY)


def test_other_types_and_values_are_refused(tmp_path):
    model = tiny_model()
    write(tmp_path, model)
    (tmp_path / ENCODER).write_bytes(network(model, "encoder", kind=9))
    with pytest.raises(ModelError, match="aren't float32"):
        import_lyra(tmp_path, TINY)
    model.encoder.first.weight.data[0, 0, 0] = float("nan")
    write(tmp_path, model)
    with pytest.raises(ModelError, match=r"encoder\.first\.weight"):
        import_lyra(tmp_path, TINY)


def test_every_prefix_and_flipped_byte_is_read_or_refused(tmp_path):
    net = Net()
    net.add(ADD, net.tensor(), np.arange(6, dtype=np.float32).reshape(2, 3))
    good = net.bytes()
    (graph,) = parse_tflite(good)
    assert [operator.code for operator in graph.operators] == [ADD]
    assert [value.tolist() for value in graph.constants.values()] == [[[0, 1, 2], [3, 4, 5]]]
    path = tmp_path / "x.tflite"
    damaged = [good[:n] for n in range(0, len(good), 3)]
    damaged += [
        good[:n] + bytes([good[n] ^ mask]) + good[n + 1 :] for n in range(0, len(good), 2) for mask in (0x80, 1)
    ]
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            read_tflite(path)
        except ModelError:
            refused += 1
    assert refused > len(damaged) // 3


def test_lying_counts_and_files_that_are_none_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.tflite"
    with pytest.raises(ModelError, match="can't be read"):
        read_tflite(path)
    path.write_bytes(b"RIFF0000WAVE")
    with pytest.raises(ModelError, match="not a TFLite file"):
        read_tflite(path)
    path.write_bytes(Net().bytes())
    monkeypatch.setattr(tflite, "MAX_ITEMS", 2)
    with pytest.raises(ModelError, match="too many items"):
        read_tflite(path)
    monkeypatch.setattr(tflite, "MAX_FILE_BYTES", 100)
    with pytest.raises(ModelError, match="not a TFLite file"):
        read_tflite(path)


def test_shapes_belong_to_their_content(tmp_path):
    net = Net()
    net.tensor(np.zeros(4, np.float32))
    net.tensors[0] = (ints(-2, -2), *net.tensors[0][1:])
    path = tmp_path / "x.tflite"
    for shape in (ints(-2, -2), ints(5), ints(*[1] * 70, 4), ints(2**31 - 1, 2**31 - 1)):
        net.tensors[0] = (shape, *net.tensors[0][1:])
        path.write_bytes(net.bytes())
        with pytest.raises(ModelError, match="differ in size"):
            read_tflite(path)
