"""Where config files are: a path, a name in ``./configs``, or one that is shipped."""

import difflib
from pathlib import Path

from darts_jax.errors import InputError, unknown_name

OWN = Path("configs")
"""The user's own configs, beside whatever is run."""
METHODS = "methods"
"""The folder, in each folder of configs, of the methods' published searches."""


def shipped_configs() -> Path:
    """Returns the folder of the configs that come with the package.

    An installed package has them inside, a checkout beside, and an editable install is
    a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_config(source: str | Path) -> Path:
    """Returns the file that a path or a bare name means.

    A file of that path comes first. A bare name, as ``digits``, ``pc_darts`` or
    ``methods/pc_darts``, is looked up in the user's own ``./configs`` and then among
    those that are shipped; in each, the folder itself comes before its ``methods``.

    Args:
      source: a path, or a name without ``.py``.

    Returns:
      The path of a file that exists.

    Raises:
      InputError: there is no such file or name (with a near one, or all that are
        known), or it can't be looked at.
    """
    given = Path(source)
    name = str(given)
    if _is_file(given):
        return given
    if given.suffix in (".py", ".json"):
        raise _no_file(given)
    for folder in (OWN, shipped_configs()):
        for path in (folder / f"{name}.py", folder / METHODS / f"{name}.py"):
            if _is_file(path):
                return path
    if given.is_dir():
        raise InputError(f"config {name} is a folder; want a file in it")
    raise unknown_name("config", name, _known(qualified="/" in name))


def published_search(method: str) -> Path:
    """Returns the shipped config of a method's published search."""
    return shipped_configs() / METHODS / f"{method}.py"


def _known(qualified: bool = False) -> list[str]:
    """Lists all names, each once; the methods' as ``methods/NAME`` if qualified."""
    prefix = f"{METHODS}/" if qualified else ""
    names: dict[str, None] = {}  # as a set that keeps its order
    for folder in (OWN, shipped_configs()):
        names |= dict.fromkeys(_stems(folder))
        names |= dict.fromkeys(prefix + stem for stem in _stems(folder / METHODS))
    return list(names)


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
        told = f"{str(path)!r:.80}"
        raise InputError(f"config {told} can't be read: {error.strerror}") from None
