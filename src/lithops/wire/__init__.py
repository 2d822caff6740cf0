"""What crosses between client and worker: ids, keys, messages and their codec. Standard library only."""
