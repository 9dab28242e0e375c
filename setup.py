"""Packages for setuptools; pyproject.toml has all else.

The folder ``configs`` lies beside the package and is installed inside it, which no
table of pyproject.toml says without a list of every package.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        name.replace("configs", "darts_jax.configs", 1)
        for name in find_namespace_packages(
            include=["darts_jax", "darts_jax.*", "configs", "configs.*"],
            exclude=["*.__pycache__"],
        )
    ],
    package_dir={"darts_jax.configs": "configs"},
)
