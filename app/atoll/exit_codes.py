"""Exit codes of `atoll` besides 0 (success) and 2 (usage error), numbered as in sysexits.h."""

# The command failed; its message gives the reason.
FAILED = 1
# The image has a vulnerability of the given severity.
VULNERABLE = 3
# Data loss: blobs have no good copy left; the output lists them.
LOST = 65
# A required service is unavailable.
UNAVAILABLE = 69
# Incomplete: content is missing that another medium has; the output lists it.
INCOMPLETE = 75
# The bundle is invalid; the message names the key.
CONFIG = 78
