"""`python -m gridpact`."""

import sys

from gridpact.cli import main

sys.exit(main())
