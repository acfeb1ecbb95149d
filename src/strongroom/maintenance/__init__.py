"""Long jobs on what is stored: they can be stopped at any time and gone on with, and objects stay in use meanwhile."""
