"""`python -m interactify` is the command line."""

import sys

from interactify.cli import main

if __name__ == "__main__":
    sys.exit(main())
