"""NAS-Bench-101's official files, read without TensorFlow.

A TFRecord file is a row of records: length (8 bytes), its checksum (4), data, their
checksum (4). A record is JSON: hash of the cell, epochs, adjacency matrix as ``01``
text, operations joined by commas, and a protobuf message ``ModelMetrics`` in base64.
Nothing in them can run.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tensorboardX.crc32c import crc32c

from darts_jax.errors import InputError

_LENGTH = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")
_LONGEST = 1 << 20  # a record of the benchmark has less than a thousand bytes


class Evaluation(NamedTuple):
    """Measurements of one training at its end.

    Attributes:
      seconds: of training.
      valid: validation accuracy, 0 to 1.
      test: test accuracy, 0 to 1.
    """

    seconds: float
    valid: float
    test: float


class Training(NamedTuple):
    """A training of a cell.

    Attributes:
      matrix: adjacency matrix row by row, as text of 0 and 1.
      operations: of every vertex, ``input`` first and ``output`` last.
      epochs: length of the training.
      parameters: number of trainable parameters.
      end: measurements at its end.
    """

    matrix: str
    operations: tuple[str, ...]
    epochs: int
    parameters: int
    end: Evaluation


def read_trainings(path: Path) -> Iterator[Training]:
    """Yields the trainings of an official file, in its order.

    Args:
      path: ``nasbench_only108.tfrecord`` or ``nasbench_full.tfrecord``.

    Raises:
      InputError: the file is missing, truncated, damaged or another.
    """
    try:
        with path.open("rb") as file:
            for number, record in enumerate(_records(file, path)):
                try:
                    yield _training(record)
                except (ValueError, KeyError, IndexError, TypeError, struct.error):
                    raise InputError(
                        f"record {number} of {path} is no training of NAS-Bench-101"
                    ) from None
    except OSError as error:
        raise InputError(
            f"no NAS-Bench-101 data at {path}: {error.strerror or error}"
        ) from None


def _records(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while head := file.read(_LENGTH.size):
        if len(head) < _LENGTH.size:
            raise InputError(f"{path} is truncated at byte {file.tell()}")
        length, check = _LENGTH.unpack(head)
        if check != _masked(head[:8]) or length > _LONGEST:
            raise InputError(
                f"{path} is no TFRecord file, or damaged before byte {file.tell()}"
            )
        body = file.read(length + _CHECKSUM.size)
        if len(body) < length + _CHECKSUM.size:
            raise InputError(f"{path} is truncated at byte {file.tell()}")
        data = body[:length]
        (check,) = _CHECKSUM.unpack(body[length:])
        if check != _masked(data):
            raise InputError(f"{path} is damaged before byte {file.tell()}")
        yield data


def _masked(data: bytes) -> int:
    """Returns the checksum as TFRecord stores it: rotated, and a constant added."""
    value: int = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _training(record: bytes) -> Training:
    _, epochs, matrix, operations, encoded = json.loads(record)
    metrics = _fields(base64.b64decode(encoded, validate=True))
    end = _fields(metrics[1][2])  # at the start, half way, and at the end
    seconds, valid, test = (_DOUBLE.unpack(end[i][0])[0] for i in (2, 4, 5))
    return Training(
        str(matrix),
        tuple(operations.split(",")),
        int(epochs),
        int(metrics[2][0]),
        Evaluation(seconds, valid, test),
    )


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Returns the fields of a protobuf message by number, each in order.

    Whole numbers are int; all others are bytes, as the wire has them.
    """
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        tag, at = _whole(message, at)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, at = _whole(message, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                if kind != 2:
                    raise ValueError("a protobuf message has no such field")
                size, at = _whole(message, at)
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise ValueError("a protobuf message is truncated")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _whole(message: bytes, at: int) -> tuple[int, int]:
    """Returns the variable-length number that begins at a byte, and the next byte."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise binascii.Error("a number in a protobuf message has no end")
