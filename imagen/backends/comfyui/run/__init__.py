"""One prompt on the server: post or find it, follow it, interrupt it, fetch its image."""
