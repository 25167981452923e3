"""A Replicate to test against: a real HTTP server that keeps state, counts and misbehaves."""

from imagen.testing.fake_replicate.faults import Fault
from imagen.testing.fake_replicate.server import FakeReplicate

__all__ = ["FakeReplicate", "Fault"]
