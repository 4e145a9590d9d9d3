"""Integer serialisation: little-endian fields, LEB128 and zigzag varints, with bounds-checked parsing."""

from __future__ import annotations

from rvqcodec.errors import LimitError, TruncatedError

MAX_VARINT_BYTES = 9


class Fields:
    """Parses consecutive fields from bytes.

    Args:
        data: The bytes.
        place: Names them in errors, such as "chunk 3".
    """

    def __init__(self, data: bytes, place: str) -> None:
        self.data = data
        self.place = place
        self.position = 0

    def take(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes` bytes.

        Raises:
            TruncatedError: There are fewer.
        """
        end = self.position + n_bytes
        if end > len(self.data):
            raise TruncatedError(f"{self.place} ends early")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def unsigned(self, n_bytes: int, name: str, low: int = 0, high: int | None = None) -> int:
        """Return a fixed-size unsigned integer within `low` .. `high`.

        Raises:
            LimitError: It is outside.
            TruncatedError: The bytes end before it.
        """
        return self._limited(int.from_bytes(self.take(n_bytes), "little"), name, low, high)

    def varint(self, name: str, low: int = 0, high: int | None = None) -> int:
        """Return an unsigned LEB128 integer within `low` .. `high`, which must be in its shortest form.

        Raises:
            LimitError: It is outside, or not in its shortest form.
            TruncatedError: The bytes end inside it.
        """
        value = 0
        for place in range(MAX_VARINT_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if place and not byte:
                    break
                return self._limited(value, name, low, high)
        raise LimitError(f"{self.place}: {name} is not a variable-length integer in its shortest form")

    def signed(self, name: str, limit: int) -> int:
        """Return a zigzag-coded signed LEB128 integer within -limit .. limit.

        Raises:
            LimitError: It is outside.
            TruncatedError: The bytes end inside it.
        """
        value = self.varint(name, 0, 2 * limit)
        return value >> 1 ^ -(value & 1)

    def text(self, n_bytes: int, name: str) -> str:
        """Return `n_bytes` bytes of UTF-8 text.

        Raises:
            LimitError: They aren't UTF-8.
            TruncatedError: There are fewer.
        """
        try:
            return self.take(n_bytes).decode()
        except UnicodeDecodeError as error:
            raise LimitError(f"{self.place}: {name} is not UTF-8") from error

    def finish(self) -> None:
        """Check that every byte was read.

        Raises:
            LimitError: There are trailing bytes.
        """
        if self.position != len(self.data):
            raise LimitError(f"{self.place} is {len(self.data) - self.position} bytes longer than its contents")

    def _limited(self, value: int, name: str, low: int, high: int | None) -> int:
        if value < low or (high is not None and value > high):
            raise LimitError(f"{self.place}: {name} is {value}, outside {low} to {high}")
        return value


def pack_varint(value: int) -> bytes:
    """Return an integer >= 0 as LEB128: seven bits a byte, low bits first, the top bit set in all bytes but the last."""
    packed = bytearray()
    while value >= 0x80:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def pack_signed(value: int) -> bytes:
    """Return a signed integer as zigzag LEB128: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return pack_varint(2 * value if value >= 0 else -2 * value - 1)
