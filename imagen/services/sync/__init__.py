"""From the outbox to Supabase: usage rows and copies of images."""
