"""`python -m bigr_cli` is `bigr`."""

import sys

from bigr_cli.streams import interruptible_imports


def main() -> int:
    """Run `bigr`; Ctrl-C ends it quietly from the first import on."""
    with interruptible_imports():
        from bigr_cli.app import main as run

        return run()


if __name__ == "__main__":
    sys.exit(main())
