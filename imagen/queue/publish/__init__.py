"""What is sent through Redis: wake-ups and events, always after a commit."""
