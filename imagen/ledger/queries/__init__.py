"""Questions that commands, reports and adapters ask."""
