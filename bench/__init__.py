"""The benchmark: Strongroom and its peers do the same work in turns on the same cores. ``make bench`` runs it."""
