"""The cold tier: boards of sleeping disks, the workers that own them, and what moves objects there and back."""
