"""``python -m assignbench``, and what ``accelerate launch -m assignbench`` starts."""

import sys

from assignbench.cli.main import main

sys.exit(main())
