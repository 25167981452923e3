"""Supabase: Storage for the images, REST for the rows. Nothing here keeps a copy or retries."""
