"""What imagen tells about itself: usage, health, images, outages."""
