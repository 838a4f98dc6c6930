"""Vector engines that serve the tracks of a memory."""
