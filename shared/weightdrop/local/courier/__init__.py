"""The courier: carries the queue's deploy requests and ticks to the functions."""
