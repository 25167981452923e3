"""The test suite for adapters, in the wheel so that adapters of other packages can run it."""
