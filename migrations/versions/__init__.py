"""One file a change, expand before contract."""
