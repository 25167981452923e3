"""What proves an adapter and what tests run on; shipped so that third parties can use it too."""
