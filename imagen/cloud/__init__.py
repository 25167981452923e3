"""Clients for Supabase: Storage for images, REST for rows. They keep no copies and do not retry."""
