"""A Replicate to test against: a real HTTP server that keeps state, counts and misbehaves."""

from tests.fakes.replicate.faults import ReplicateFault
from tests.fakes.replicate.server import FakeReplicate

__all__ = ["FakeReplicate", "ReplicateFault"]
