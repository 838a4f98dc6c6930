"""Commands that make the weights of `tiny`."""
