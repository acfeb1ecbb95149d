"""What the server says about itself: the log, metrics, the access log."""
