"""Options that several commands share, and values as people type them."""
