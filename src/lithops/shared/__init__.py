"""State that the processes of a program share, wherever they run. It lives in a Redis server that all of them reach."""
