"""From jobs to tasks that have been sent: how many at once, how large, and when again."""
