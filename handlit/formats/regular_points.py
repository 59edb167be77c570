"""Lists of frames of points that arrive in pieces: their shape from brackets and commas, their numbers in blocks.

Neither holds more than it must, so that a text of gigabytes takes the memory of its numbers alone.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

#: Of a frame; MANO's hands have 778.
MAX_POINTS = 100_000
#: Numbers of a block: the smallest that every C library gives back to the system when it is freed.
_BLOCK = (64 << 20) // 8
_POINT = b"[,,]"


class PointShapes:
    """Shapes of lists of frames of points, from the brackets and commas of their text alone.

    Args:
        num_parts: Lists. One is the text; several are the items of a list.
    """

    def __init__(self, num_parts: int) -> None:
        self._parts: list[tuple[int, int]] = []
        self._left = num_parts
        self._is_nested = num_parts > 1
        #: What comes next, whatever follows.
        self._expected = b"[[" if self._is_nested else b"["
        self._pending = b""
        self._frame, self._frames = b"", 0

    def add(self, signs: bytes) -> bool:
        """Take the next brackets and commas.

        Returns:
            Whether the text may still be such lists.
        """
        self._pending += signs
        while self._take_expected():
            if self._expected:
                return True
            if not self._left:
                return not self._pending
            if not self._frame and not self._take_shape():
                return False
            if len(self._pending) <= len(self._frame) or not self._frame:
                return True
            if not self._take_frames():
                return False
        return False

    @property
    def shapes(self) -> list[tuple[int, int]] | None:
        """Frames and points of each list; None while the text is not complete."""
        return None if self._left or self._expected or self._pending else self._parts

    def _take_expected(self) -> bool:
        count = min(len(self._expected), len(self._pending))
        matches = self._pending[:count] == self._expected[:count]
        self._expected, self._pending = self._expected[count:], self._pending[count:]
        return matches

    def _take_shape(self) -> bool:
        """Find the text of a frame from the first one, which stays; whether it may be one."""
        end = self._pending.find(b"]]") + 2
        if end < 2:
            return len(self._pending) <= (len(_POINT) + 1) * MAX_POINTS
        points = (end - 1) // (len(_POINT) + 1)
        self._frame = b"[" + b",".join([_POINT] * points) + b"]"
        return 0 < points <= MAX_POINTS and self._pending.startswith(self._frame)

    def _take_frames(self) -> bool:
        """Take whole frames, perhaps up to the end of a list; whether they are alike."""
        length = len(self._frame) + 1
        count = len(self._pending) // length
        if self._pending.startswith((self._frame + b",") * count):
            self._frames += count
            self._pending = self._pending[count * length :]
            return True
        end = self._pending.find(b"]]]") + 3
        count, rest = divmod(end, length)
        if end < 3 or rest or self._pending[: end - 1] != b",".join([self._frame] * count):
            return False
        self._parts.append((self._frames + count, (len(self._frame) - 1) // (len(_POINT) + 1)))
        self._pending = self._pending[end:]
        self._left -= 1
        self._frame, self._frames = b"", 0
        self._expected = b",[" if self._left else b"]" if self._is_nested else b""
        return True


class NumberBlocks:
    """Numbers that arrive in pieces, in blocks that are given back one by one while they are taken out."""

    def __init__(self) -> None:
        self._blocks: deque[np.ndarray] = deque()
        self._used = _BLOCK
        self.count = 0

    def add(self, numbers: np.ndarray) -> None:
        """Append numbers (N,)."""
        self.count += len(numbers)
        while len(numbers):
            if self._used == _BLOCK:
                self._blocks.append(np.empty(_BLOCK))
                self._used = 0
            part = numbers[: _BLOCK - self._used]
            self._blocks[-1][self._used : self._used + len(part)] = part
            self._used += len(part)
            numbers = numbers[len(part) :]

    def take(self, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
        """All numbers, as arrays of these shapes in turn; nothing is left."""
        arrays = []
        start = 0
        for shape in shapes:
            array = np.empty(shape)
            flat, filled = array.reshape(-1), 0
            while filled < len(flat):
                part = self._blocks[0][start : start + len(flat) - filled]
                flat[filled : filled + len(part)] = part
                filled, start = filled + len(part), start + len(part)
                if start == _BLOCK:
                    self._blocks.popleft()
                    start = 0
            arrays.append(array)
        self._blocks.clear()
        return arrays
