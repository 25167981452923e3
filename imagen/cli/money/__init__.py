"""Commands about what was spent and what is sent to Supabase."""
