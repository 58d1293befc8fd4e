"""``python -m assignbench``, and what ``accelerate launch -m assignbench`` starts."""

import sys

from assignbench.cli.main import main

if __name__ == "__main__":  # data workers may import this file
    sys.exit(main())
