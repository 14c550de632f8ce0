"""The only folder that imports rclpy: the node, its parameters, input, output and diagnostics."""

import os

# The node's matrices are small: a second BLAS thread gains nothing, and waiting for it on a busy machine costs up to
# a hundred times the product itself. It counts only if numpy is not imported yet.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
