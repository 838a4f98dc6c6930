"""What trains and converts what vidmem ships, and what measures it. Never imported by the package."""
