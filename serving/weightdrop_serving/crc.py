"""CRC-32C of a whole from the CRC-32Cs of its parts.

Ranges of one file arrive in any order and are checked as they pass; what Cloud
Storage knows is the checksum of the whole. A CRC is linear, so the checksum of two
parts joined is the first's, advanced by as many zero bytes as the second has, plus
the second's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import cache
from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, bits reversed (RFC 3720, B.4)
_BITS: Final = 32

_Matrix = tuple[int, ...]


def joined(parts: Iterable[tuple[int, int]]) -> int:
    """The CRC-32C of parts in order, each given as (its CRC-32C, its length)."""
    total = 0
    for checksum, length in parts:
        total = _advance(total, length) ^ checksum
    return total


def encoded(checksum: int) -> str:
    """As Cloud Storage writes it: base64 of the big-endian bytes."""
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


def _advance(checksum: int, zeros: int) -> int:
    power = 0
    while zeros:
        if zeros & 1:
            checksum = _times(_zero_bytes(power), checksum)
        zeros >>= 1
        power += 1
    return checksum


@cache
def _zero_bytes(power: int) -> _Matrix:
    """What 2**power zero bytes do to a CRC, as a matrix over GF(2)."""
    if power:
        half = _zero_bytes(power - 1)
        return tuple(_times(half, column) for column in half)
    matrix: _Matrix = (_POLYNOMIAL, *(1 << bit for bit in range(_BITS - 1)))
    for _ in range(3):  # one bit, then two, four, eight
        matrix = tuple(_times(matrix, column) for column in matrix)
    return matrix


def _times(matrix: _Matrix, vector: int) -> int:
    total = 0
    for column in matrix:
        if vector & 1:
            total ^= column
        vector >>= 1
        if not vector:
            break
    return total
