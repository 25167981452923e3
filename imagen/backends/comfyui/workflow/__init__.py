"""Workflow graphs: where they come from, which inputs are bound, how a request fills them."""
