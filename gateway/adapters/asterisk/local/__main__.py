"""`python -m gateway.adapters.asterisk.local CHECKOUT`: exit 0 when there is an Asterisk to be found, silently."""

import sys
from pathlib import Path

from gateway.adapters.asterisk.local.installation import AsteriskMissing, find_asterisk

try:
    find_asterisk(Path(sys.argv[1]))
except AsteriskMissing:
    sys.exit(1)
