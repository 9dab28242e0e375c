"""Reads a config: by a path, or by the name of a file or of a method."""

import difflib
import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.buckets import is_in_bucket
from darts_jax.errors import InputError, unknown_name_error
from darts_jax.files import open_place
from darts_jax.settings.config import (
    config_from_tree,
    default_config,
    with_overrides,
)
from darts_jax.settings.methods import METHODS, published_config
from darts_jax.settings.schema import METRICS
from darts_jax.spaces.modules import register_recorded

OWN = Path("configs")
"""The user's own configs, in the working directory."""
METHODS_FOLDER = "methods"
"""Names a method's search in full, as ``methods/pc_darts``; also a folder of `OWN`."""


def load_config(
    source: str | Path | None = None, overrides: Sequence[str] = ()
) -> ConfigDict:
    """Returns the defaults, changed by a config and then by single settings.

    The space of a run of a user's network is registered, by ``space.json`` beside the
    ``config.json``.

    Example:
      >>> load_config("pc_darts", ["search.epochs=3"]).search.epochs
      3

    Args:
      source: a Python file with ``get_config()``; a ``config.json`` of a run; or a
        name without ending: of a file in ``./configs`` or ``./configs/methods``, of a
        file that is shipped, as ``"digits"``, or of a method, as ``"pc_darts"`` or
        ``"methods/pc_darts"``: the search of its paper. None: the defaults alone.
      overrides: single settings, as ``"search.epochs=3"``.

    Returns:
      A locked config, every setting of which has been checked.

    Raises:
      InputError: there is no such file or name (the message has a near one), a setting
        is unknown, or its value is not allowed.
    """
    if source is None:
        return with_overrides(default_config(), overrides)
    path = find_config(source)
    if path is None:
        name = str(source).removeprefix(f"{METHODS_FOLDER}/")
        return with_overrides(published_config(name), overrides)
    return with_overrides(config_from_tree(_read(path)), overrides)


def find_config(source: str | Path) -> Path | None:
    """Returns the file that a path or a bare name means.

    The user's own files come before those that are shipped.

    Args:
      source: a path, or a name without ``.py``.

    Returns:
      The path of a file that exists; None where the name is a method's.

    Raises:
      InputError: there is no such file or name (with a near one, or all that are
        known), or it can't be read.
    """
    given = open_place(source)
    name = str(given)
    if _is_file(given):
        return given
    if given.suffix in (".py", ".json"):
        raise _no_file(given)
    places = (OWN, OWN / METHODS_FOLDER, shipped_configs())
    for folder in places:
        if _is_file(folder / f"{name}.py"):
            return folder / f"{name}.py"
    if name.removeprefix(f"{METHODS_FOLDER}/") in METHODS:
        return None
    if given.is_dir():
        raise InputError(f"config {name} is a folder; want a file in it")
    raise unknown_name_error("config", name, _known(qualified="/" in name))


def shipped_configs() -> Path:
    """Returns the folder of the configs that come with the package.

    An installed package has them inside, a checkout beside, and an editable install is
    a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _known(qualified: bool = False) -> list[str]:
    """Returns all names, each once; the methods' as ``methods/NAME`` if qualified."""
    prefix = f"{METHODS_FOLDER}/" if qualified else ""
    methods = [*_stems(OWN / METHODS_FOLDER), *METHODS]
    files = [*_stems(OWN), *_stems(shipped_configs())]
    return list(dict.fromkeys([*files, *(prefix + name for name in methods)]))


def _stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py"))


def _no_file(path: Path) -> InputError:
    """Returns the error for a path that leads nowhere, with the name that would."""
    near = difflib.get_close_matches(path.stem, _known(), n=1)
    hint = f"; did you mean the config {near[0]!r}?" if near else ""
    return InputError(f"no config file {path}{hint}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a folder that may not be entered, a name too long
        shown = f"{str(path)!r:.80}"
        raise InputError(f"config {shown} can't be read: {error.strerror}") from None


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != ".json":
        if is_in_bucket(path):
            raise InputError(f"config {path} is code in a bucket; want a .json there")
        return _call_get_config(path)
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"config {path} is not readable JSON: {error}") from None
    if not isinstance(tree, dict):
        raise InputError(f"config {path} is not a JSON object")
    measured = register_recorded(path.parent)
    if measured is not None:
        METRICS[measured.name] = measured
    return tree


def _call_get_config(path: Path) -> dict[str, Any]:
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = get_config() if callable(get_config) else None
    except InputError:
        raise
    # A config file is the user's program: whatever it raises is theirs to mend.
    except Exception as error:
        message = str(error).split("\n")[0]
        raise InputError(
            f"config {path} failed: {type(error).__name__}: {message}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"config {path} defines no get_config() -> ConfigDict")
    return config.to_dict()
