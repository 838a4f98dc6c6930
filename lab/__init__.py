"""Training, conversion of weights and synthetic videos. Not shipped, and never imported by the package."""
