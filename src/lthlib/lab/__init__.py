"""The lab: trains, prunes, rewinds, and writes down every prediction. It needs torch."""

import os

# How much room cuBLAS may take decides how it computes, and it is read once, at its first use: so
# before anything can have computed. A value of the user's own stays, and is part of what a run
# depends on.
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
os.environ.setdefault(WORKSPACE, ":4096:8")
