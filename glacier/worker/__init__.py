"""The worker: owns one bus; knows which chunk lies on which disk, and decides when a disk has power."""
