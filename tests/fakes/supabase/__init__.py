"""A Supabase to test against: a real HTTP server with the true odd statuses, and faults."""

from tests.fakes.supabase.faults import Service, SupabaseFault
from tests.fakes.supabase.server import FakeSupabase

__all__ = ["FakeSupabase", "Service", "SupabaseFault"]
