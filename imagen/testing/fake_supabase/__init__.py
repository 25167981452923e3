"""A Supabase to test against: a real HTTP server with the true odd statuses, and faults."""

from imagen.testing.fake_supabase.faults import Fault, Service
from imagen.testing.fake_supabase.server import FakeSupabase

__all__ = ["FakeSupabase", "Fault", "Service"]
