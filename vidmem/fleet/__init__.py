"""Many sealed memories, the shards, asked as one."""
