"""Builds the API pages: python docs/api.py FOLDER. A warning is an error."""

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

import darts_jax
from darts_jax.settings import reference


def main() -> None:
    warnings.simplefilter("error", UserWarning)
    # Public names are imported when first used; pdoc reads what is there.
    for name in darts_jax.__all__:
        setattr(darts_jax, name, getattr(darts_jax, name))
    reference.__doc__ = f"{reference.__doc__}\n\n{reference.settings_table()}\n"
    pdoc.render.configure(docformat="google", math=False)
    # What has __all__ hides its modules from pdoc; it walks those of others itself.
    found = pkgutil.iter_modules(darts_jax.__path__, "darts_jax.")
    modules = ["darts_jax", *(m.name for m in found if not m.name.endswith("__main__"))]
    pdoc.pdoc(*modules, output_directory=Path(sys.argv[1]))


if __name__ == "__main__":
    main()
