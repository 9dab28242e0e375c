"""``python -m darts_jax``."""

import sys

from darts_jax.cli.main import main

sys.exit(main())
