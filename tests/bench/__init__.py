"""Of the benchmark: that its figures are of what they say, and that it says so when a server answers rubbish."""
