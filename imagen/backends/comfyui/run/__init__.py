"""One prompt on the server: post, follow, interrupt, fetch."""
