"""`corral dev`: serve what is being written, and serve it anew at each save."""
