"""Options that several commands share, and values as users type them."""
