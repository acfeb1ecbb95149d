"""Long jobs over what is stored: they can be stopped at any time and begun anew."""
