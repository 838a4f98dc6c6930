"""Index a fleet of videos on many machines, with Ray."""
