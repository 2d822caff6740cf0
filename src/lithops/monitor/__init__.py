"""From statuses to settled futures: a pure tracker, and the thread that feeds it."""
