"""The commands, a module for each family; `cli.main` imports them when they are asked for."""
