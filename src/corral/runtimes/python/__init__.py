"""The Python runtime: a zygote, and what runs inside each instance it forks. Standard library only."""
