"""Long jobs over what is stored. They can be stopped at any time and started again."""
