"""``python -m darts_jax``."""

import sys

from darts_jax.main import main

sys.exit(main())
