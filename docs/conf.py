"""The site: `sphinx-build -W docs site`. Guides, notebooks, a gallery, the API."""

import shutil
from pathlib import Path

import darts_jax

HERE = Path(__file__).parent

project = "darts_jax"
author = "The darts_jax authors"
release = version = darts_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["jupyter_execute"]
root_doc = "index"

# Notebooks hold the outputs of their own last run; pages of code cells run at the build.
nb_execution_mode = "auto"
nb_execution_excludepatterns = ["notebooks/*"]
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# `name` in a docstring is code, as everywhere in these pages.
default_role = "code"

html_theme = "furo"
html_title = "darts_jax"
html_theme_options = {"source_repository": "https://github.com/darts-jax/darts-jax"}
html_static_path: list[str] = []


def copy_notebooks() -> None:
    """Copies the notebooks, which lie beside this folder, to where Sphinx reads them."""
    target = HERE / "notebooks"
    target.mkdir(exist_ok=True)
    for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, target)


copy_notebooks()
