"""The exit statuses of `atoll`, beside 0 for done and 2 for wrong use (as in sysexits.h)."""

# Not done; the text says why.
FAILED = 1
# Blobs have no good copy left; the text names them.
LOST = 65
# A service that is needed cannot be reached.
UNAVAILABLE = 69
# The bundle is wrong; the text names the key.
CONFIG = 78
