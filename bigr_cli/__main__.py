"""`python -m bigr_cli` is `bigr`."""

import sys

from bigr_cli.app import main

sys.exit(main())
