"""One function for each operation: called after the signature was verified and the permission granted; the Call holds all it relies on."""
