"""The commands, one file each: parse, call Memory, print. Nothing heavy is imported before a command runs."""
