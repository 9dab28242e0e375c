"""Reading of stored images: turned upright, made gray or RGB, and scaled."""

import contextlib
import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.data.random_crop import Box
from darts_jax.errors import InputError, first_line

Image = np.ndarray | bytes | Path
"""A file, its bytes, or uint8 or uint16 [height, width] or [height, width, channel]."""

FITS = ("crop", "squeeze")
LABELS = ("classes", "numbers")
"""What networks predict: one of some classes, or a number."""

LARGEST = 8192
"""Largest height and width, in pixels, that images may be brought to."""

_SIZE = re.compile(r"(\d+)(?:x(\d+))?", re.ASCII)
_GRAY = ("1", "L", "LA", "La")
# EXIF's orientation -> the name of Pillow's transposition that makes it upright.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@dataclasses.dataclass(frozen=True)
class Reading:
    """Settings by which stored images become pixels, as named in ``data``.

    Attributes:
      size: height and width that all images are brought to; None: as they are stored.
      fit: "crop" scales an image to cover the size and crops it at the centre,
        "squeeze" scales both sides on their own.
      short_side: shorter side that an image is scaled to before it is cropped; 0: the
        shortest that covers the size.
      channels: 1 is gray, 3 are RGB, 0 is gray where all images are.
      bits: that the numbers of files with more than 8 bits a channel use, 9 to 16,
        of which the upper 8 are taken; 8 refuses such files.
      background: gray level in 0..255 behind transparent pixels.
      skip_unreadable: whether files that cannot be read are left out.
      upright: whether images are turned as their EXIF data say.
      kind: what arrays and files are read as, a name of `KINDS`.
      label: name of the column of CSV files that holds the labels; empty: the one of a
        usual name.
      labels: what labels are, a name of `LABELS`.
    """

    size: tuple[int, int] | None = None
    fit: str = "crop"
    channels: int = 0
    bits: int = 8
    background: int = 255
    skip_unreadable: bool = False
    upright: bool = True
    short_side: int = 0
    kind: str = "images"
    label: str = ""
    labels: str = "classes"

    def __post_init__(self) -> None:
        if self.size and 0 < self.short_side < max(self.size):
            raise InputError(
                f"data.short_side is {self.short_side}, and images of "
                f"{format_size(self.size)} are cropped out of it; want "
                f"{max(self.size)} or more, or 0"
            )
        if self.kind != "images" and (self.size or self.channels):
            raise InputError(
                f"data.size and data.channels are of images; {self.kind} are taken as "
                "they are: want neither"
            )
        if self.short_side and self.fit != "crop":
            raise InputError(
                f"data.fit={self.fit} crops nothing, and data.short_side is "
                f"{self.short_side}; want data.fit=crop, or 0"
            )


PLAIN = Reading()


def parse_size(text: str) -> tuple[int, int] | None:
    """Returns height and width of ``"32"`` or ``"48x64"``; None for an empty text.

    Args:
      text: as a user writes it.

    Raises:
      InputError: it is something else, or a side is not in 1..`LARGEST`.
    """
    if not text:
        return None
    match = _SIZE.fullmatch(text)
    if match:
        height = int(match[1])
        width = int(match[2] or height)
        if min(height, width) < 1:
            raise InputError(f"images of size {text} have side 0, must be 1 or more")
        if max(height, width) <= LARGEST:
            return height, width
    raise InputError(
        f"size {text!r} of images must be SIDE or HEIGHTxWIDTH, as 32 or 48x64, each "
        f"1 to {LARGEST}"
    )


def format_size(size: tuple[int, ...]) -> str:
    """Writes a size as `parse_size` reads it.

    Args:
      size: height and width.

    Returns:
      ``"32"`` for a square, otherwise such as ``"48x64"``.
    """
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def read_picture(
    image: Image,
    what: str,
    reading: Reading = PLAIN,
    near: tuple[int, int] | None = None,
) -> Any:
    """Returns Pillow's image in mode L or RGB, decoded, of the size that is stored.

    Args:
      image: see `Image`.
      what: names the image in an error, unless it is a file, which has a name.
      near: height and width that it is scaled to afterwards. A JPEG three times too
        large may be decoded smaller then, which is quicker.

    Raises:
      InputError: it cannot be read, is too large for Pillow to trust, or has more bits
        a channel than ``reading.bits`` allows.
    """
    with _open(image, what) as stored:
        return _decode(stored, reading, near)


def fit(
    image: Image,
    image_shape: tuple[int, int, int],
    what: str,
    reading: Reading = PLAIN,
) -> np.ndarray:
    """Brings an image to a shape: decoded, scaled to cover it, cropped at the centre.

    For a square that scales the shorter side to the square's. The same image always
    gives the same pixels; one that has the shape already keeps its own. With
    ``reading.fit="squeeze"`` nothing is cropped and each side is scaled on its own.

    Args:
      image: see `Image`.
      image_shape: height, width, channels; 1 channel is gray, 3 are RGB.
      what: names the image in an error, unless it is a file, which has a name.

    Returns:
      uint8 of ``image_shape``.

    Raises:
      InputError: as `read_picture`.
    """
    height, width, channels = image_shape
    side = reading.short_side
    near = (max(height, side), max(width, side))
    picture = read_picture(image, what, reading, near)
    picture = picture.convert("L" if channels == 1 else "RGB")
    scaled = scale_picture(picture, (height, width), reading)
    return np.asarray(scaled).reshape(image_shape)


def crop_to_fit(
    image: Image,
    image_shape: tuple[int, int, int],
    what: str,
    reading: Reading,
    choose: Callable[[int, int], Box],
) -> np.ndarray:
    """Brings a part of an image to a shape: decoded, cropped, scaled bilinearly.

    Args:
      image: see `Image`.
      image_shape: height, width, channels; 1 channel is gray, 3 are RGB.
      what: as for `fit`.
      reading: how images are read; its size and fit are not asked.
      choose: (height, width of the upright image) -> the part.

    Returns:
      uint8 of ``image_shape``.

    Raises:
      InputError: as `read_picture`.
    """
    from PIL.Image import Resampling

    height, width, channels = image_shape
    with _open(image, what) as stored:
        tall, wide = _upright_size(stored, reading)
        box = choose(tall, wide)
        near = (-(-height * tall // box.height), -(-width * wide // box.width))
        picture = _decode(stored, reading, near)
    # A JPEG that is decoded smaller has the box between its pixels.
    across = picture.width / wide
    down = picture.height / tall
    left, right = (across * x for x in (box.left, box.left + box.width))
    top, bottom = (down * y for y in (box.top, box.top + box.height))
    first = (math.floor(left), math.floor(top))
    part = picture.crop((*first, math.ceil(right), math.ceil(bottom)))
    inner = (left - first[0], top - first[1], right - first[0], bottom - first[1])
    part = part.convert("L" if channels == 1 else "RGB")
    scaled = part.resize((width, height), Resampling.BILINEAR, box=inner)
    return np.asarray(scaled).reshape(image_shape)


def scale_picture(picture: Any, size: tuple[int, int], reading: Reading) -> Any:
    """Brings a picture to a size, bilinearly.

    Args:
      picture: Pillow's.
      size: height and width.
      reading: of which ``fit`` and ``short_side`` are read.

    Returns:
      Pillow's image of that size.
    """
    from PIL.Image import Resampling

    height, width = size
    if reading.short_side:
        return _crop_centre(_scale_short_side(picture, reading.short_side), size)
    crop_width, crop_height = picture.size
    if reading.fit == "crop":
        scale = max(height / picture.height, width / picture.width)
        crop_width = min(width / scale, picture.width)
        crop_height = min(height / scale, picture.height)
    left = (picture.width - crop_width) / 2
    top = (picture.height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return picture.resize((width, height), Resampling.BILINEAR, box=box)


def fit_arrays(images: np.ndarray, reading: Reading) -> np.ndarray:
    """Brings images in memory to the size and the channels that a reading asks for.

    Args:
      images: uint8 [n, height, width, channel].

    Returns:
      uint8 like ``images``: these themselves where nothing changes.

    Raises:
      InputError: other channels are asked for of images that are neither gray nor RGB.
    """
    from PIL import Image as pillow

    size = reading.size or images.shape[1:3]
    stored = images.shape[-1]
    channels = reading.channels or stored
    if channels != stored and stored not in (1, 3):
        raise InputError(
            f"data.channels={channels} is for gray and RGB images; these have "
            f"{stored} channels"
        )
    if (*size, channels) == images.shape[1:]:
        return images
    fitted = np.empty((len(images), *size, channels), np.uint8)
    for row, image in zip(fitted, images, strict=True):
        if channels != stored:
            mode = "L" if channels == 1 else "RGB"
            image = np.asarray(_make_picture(image).convert(mode))
        # Channel by channel, which are the same bits, for any number of channels.
        for c, plane in enumerate(np.moveaxis(np.atleast_3d(image), -1, 0)):
            picture = pillow.fromarray(np.ascontiguousarray(plane))
            row[..., c] = np.asarray(
                scale_picture(picture, (size[0], size[1]), reading)
            )
    return fitted


def _scale_short_side(picture: Any, side: int) -> Any:
    """Returns a picture whose shorter side has a length, rounded as in torchvision."""
    from PIL.Image import Resampling

    short = min(picture.size)
    width, height = (int(side * length / short) for length in picture.size)
    return picture.resize((width, height), Resampling.BILINEAR)


def _crop_centre(picture: Any, size: tuple[int, int]) -> Any:
    height, width = size
    left = round((picture.width - width) / 2)
    top = round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))


@contextlib.contextmanager
def _open(image: Image, what: str) -> Iterator[Any]:
    """Opens a file, its bytes or an array with Pillow; nothing is decoded yet.

    Whatever is raised while it is open is an `InputError` with the image's name.
    """
    from PIL import Image as pillow

    try:
        if isinstance(image, np.ndarray):
            yield _make_picture(image)
            return
        # Not by its name: Pillow 13 maps a TIFF of that and turns it wrongly.
        whole = io.BytesIO(image) if isinstance(image, bytes) else image.open("rb")
        with whole, pillow.open(whole) as stored:
            yield stored
    except Exception as error:  # damaged files raise half a dozen types
        name = image if isinstance(image, Path) else what
        raise InputError(f"cannot read the image {name}: {first_line(error)}") from None


def _decode(stored: Any, reading: Reading, near: tuple[int, int] | None) -> Any:
    """Returns an open image in mode L or RGB, upright; see `read_picture`."""
    deep = _is_deep(stored)
    if near is not None:
        height, width = _stored_size(stored, near) if reading.upright else near
        stored.draft(None, (3 * width, 3 * height))
    stored.load()
    picture = _to_eight_bits(stored, deep, reading.bits)
    picture = _make_opaque(picture, reading.background)
    # Asked for after the pixels: Pillow turns a TIFF as it loads it.
    turn = _TURNS.get(_orientation(stored)) if reading.upright else None
    return picture if turn is None else _turn(picture, turn)


def _upright_size(stored: Any, reading: Reading) -> tuple[int, int]:
    """Returns the height and width that an open image has once it is upright."""
    size = (stored.height, stored.width)
    # Pillow opens a TIFF upright, with the orientation that it was stored with.
    is_turned = reading.upright and stored.format != "TIFF"
    return _stored_size(stored, size) if is_turned else size


def _make_picture(image: np.ndarray) -> Any:
    from PIL import Image as pillow

    flat = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    return pillow.fromarray(flat)


def _orientation(stored: Any) -> int:
    try:
        return int(stored.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data are no reason to lose an image
        return 1


def _stored_size(stored: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Returns the height and width of an image before it is turned."""
    return size[::-1] if _orientation(stored) >= 5 else size


def _turn(picture: Any, turn: str) -> Any:
    from PIL.Image import Transpose

    return picture.transpose(Transpose[turn])


def _is_deep(stored: Any) -> bool:
    """Returns whether a file has more than 8 bits a channel, which Pillow may hide."""
    if stored.mode.startswith(("I", "F")):
        return True
    return any(";16" in str(tile[3]) for tile in getattr(stored, "tile", ()))


def _to_eight_bits(stored: Any, deep: bool, bits: int) -> Any:
    from PIL import Image as pillow

    if not deep:
        return stored
    if stored.mode.startswith("F"):
        raise ValueError(f"mode {stored.mode} is of floats, must have 8 bits a channel")
    kind = f"mode {stored.mode}" if stored.mode.startswith("I") else "16 bits a channel"
    if bits == 8:
        raise ValueError(
            f"{kind}, must have 8 bits a channel; data.bits=16 takes the upper 8 of "
            "16, data.bits=12 those of 12"
        )
    if not stored.mode.startswith("I"):
        # Pillow hands on the upper 8 bits of 16 alone.
        if bits != 16:
            raise ValueError(
                f"{kind} in colour, which data.bits=16 alone can read, not {bits}"
            )
        return stored
    numbers = np.asarray(stored)
    least = int(numbers.min())
    most = int(numbers.max())
    if least < 0 or most >= 2**bits:
        raise ValueError(
            f"{kind} with numbers from {least} to {most}, not within the 0 to "
            f"{2**bits - 1} of data.bits={bits}"
        )
    return pillow.fromarray((numbers >> (bits - 8)).astype(np.uint8))


def _make_opaque(picture: Any, background: int) -> Any:
    """Returns an image in mode L or RGB, with gray behind what is transparent."""
    from PIL import Image as pillow

    gray = picture.mode in _GRAY
    if not picture.has_transparency_data:
        return picture.convert("L" if gray else "RGB")
    clear = picture.convert("LA" if gray else "RGBA")
    base = pillow.new("L", clear.size, background).convert("L" if gray else "RGB")
    base.paste(clear.convert(base.mode), mask=clear.getchannel("A"))
    return base
