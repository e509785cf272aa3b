"""The planner's score on measured start-ups, and the page that tells it."""
