"""From a waiting row to an image in the ledger: claim, draw, retry, cancel."""
