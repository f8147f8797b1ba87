"""The metadata on many hosts: sets of peers, their leaders, and the way of a call to whoever leads."""
