"""What trains and converts. Never shipped, never imported by the package."""
