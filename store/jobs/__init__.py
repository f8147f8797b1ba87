"""Long work on everything that is stored: scrubs, the rebuilding and emptying of volumes, rebalancing."""
