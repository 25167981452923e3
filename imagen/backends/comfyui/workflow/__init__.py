"""Workflow graphs: loading one, binding its inputs, filling it with a request."""
