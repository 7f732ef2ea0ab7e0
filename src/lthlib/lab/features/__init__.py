"""Region features: read what others published, keep it in one store, make it from images."""
