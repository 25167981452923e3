"""From an image in the ledger to its file and sidecar."""
