"""One function for each operation: called after the signature was verified and the permission granted, with everything it may rely on in the Call."""
