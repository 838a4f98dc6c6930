"""Standing questions: what a live session is asked at each checkpoint, and where its answers are sent."""
